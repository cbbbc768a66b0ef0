// OkHttp 3 (Debian: libokhttp-java).
// API_HOST=http://127.0.0.1:8000 API_KEY=… java -cp /usr/share/java/okhttp.jar:/usr/share/java/okio.jar OkHttp.java
import okhttp3.MediaType;
import okhttp3.OkHttpClient;
import okhttp3.Request;
import okhttp3.RequestBody;
import okhttp3.Response;

class OkHttp {
    static String setting(String name, String otherwise) {
        return System.getenv().getOrDefault(name, otherwise);
    }

    /** A text as JSON has it; of none, null. */
    static String quoted(String text) {
        return text == null ? "null" : "\"" + text + "\"";
    }

    public static void main(String[] arguments) throws Exception {
        String side = setting("API_SIDE", "512");
        String json = "{\n"
            + "  \"key\": " + quoted(setting("API_KEY", "")) + ",\n"
            + "  \"model_id\": \"model_id\",\n"
            + "  \"prompt\": \"a red ball bouncing in a blue sky\",\n"
            + "  \"negative_prompt\": \"blurry\",\n"
            + "  \"width\": " + quoted(side) + ",\n"
            + "  \"height\": " + quoted(side) + ",\n"
            + "  \"scheduler\": \"UniPCMultistepScheduler\",\n"
            + "  \"num_inference_steps\": " + quoted(setting("API_STEPS", "30")) + ",\n"
            + "  \"enhance_prompt\": \"yes\",\n"
            + "  \"guidance_scale\": 7.5,\n"
            + "  \"strength\": 0.7,\n"
            + "  \"seed\": null,\n"
            + "  \"webhook\": " + quoted(setting("API_WEBHOOK", null)) + ",\n"
            + "  \"track_id\": " + quoted(setting("API_TRACK_ID", null)) + "\n"
            + "}";

        OkHttpClient client = new OkHttpClient().newBuilder().build();
        Request request = new Request.Builder()
            .url(setting("API_HOST", "") + "/api/v1/enterprise/text2video")
            .method("POST", RequestBody.create(MediaType.parse("application/json"), json))
            .addHeader("Content-Type", "application/json")
            .build();
        try (Response response = client.newCall(request).execute()) {
            System.out.println(response.body().string());
        }
    }
}
