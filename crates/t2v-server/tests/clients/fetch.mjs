// JavaScript's fetch, as browsers and Node 18 and later have it.
// API_HOST=http://127.0.0.1:8000 API_KEY=… node fetch.mjs
const { API_HOST, API_KEY, API_SIDE, API_STEPS, API_WEBHOOK, API_TRACK_ID } = process.env;

const headers = new Headers();
headers.append("Content-Type", "application/json");

const response = await fetch(`${API_HOST}/api/v1/enterprise/text2video`, {
    method: "POST",
    headers,
    redirect: "follow",
    body: JSON.stringify({
        key: API_KEY,
        model_id: "model_id",
        prompt: "a red ball bouncing in a blue sky",
        negative_prompt: "blurry",
        width: API_SIDE ?? "512",
        height: API_SIDE ?? "512",
        scheduler: "UniPCMultistepScheduler",
        num_inference_steps: API_STEPS ?? "30",
        enhance_prompt: "yes",
        guidance_scale: 7.5,
        strength: 0.7,
        seed: null,
        webhook: API_WEBHOOK ?? null,
        track_id: API_TRACK_ID ?? null,
    }),
});
console.log(await response.text());
