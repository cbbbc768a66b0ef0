// Node's package request, 2.88.
// API_HOST=http://127.0.0.1:8000 API_KEY=… node request.js
const request = require("request");

const env = process.env;
const options = {
    method: "POST",
    url: `${env.API_HOST}/api/v1/enterprise/text2video`,
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({
        key: env.API_KEY,
        model_id: "model_id",
        prompt: "a red ball bouncing in a blue sky",
        negative_prompt: "blurry",
        width: env.API_SIDE ?? "512",
        height: env.API_SIDE ?? "512",
        scheduler: "UniPCMultistepScheduler",
        num_inference_steps: env.API_STEPS ?? "30",
        enhance_prompt: "yes",
        guidance_scale: 7.5,
        strength: 0.7,
        seed: null,
        webhook: env.API_WEBHOOK ?? null,
        track_id: env.API_TRACK_ID ?? null,
    }),
};

request(options, (error, response) => {
    if (error) throw error;
    console.log(response.body);
});
