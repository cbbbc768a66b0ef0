<?php
// PHP with its extension curl (Debian: php-cli, php-curl).
// API_HOST=http://127.0.0.1:8000 API_KEY=… php curl.php
$side = getenv('API_SIDE') ?: '512';

$curl = curl_init(getenv('API_HOST') . '/api/v1/enterprise/text2video');
curl_setopt_array($curl, [
    CURLOPT_CUSTOMREQUEST => 'POST',
    CURLOPT_HTTP_VERSION => CURL_HTTP_VERSION_1_1,
    CURLOPT_HTTPHEADER => ['Content-Type: application/json'],
    CURLOPT_RETURNTRANSFER => true,
    CURLOPT_ENCODING => '',
    CURLOPT_FOLLOWLOCATION => true,
    CURLOPT_MAXREDIRS => 10,
    CURLOPT_TIMEOUT => 0,
    CURLOPT_POSTFIELDS => json_encode([
        'key' => getenv('API_KEY'),
        'model_id' => 'model_id',
        'prompt' => 'a red ball bouncing in a blue sky',
        'negative_prompt' => 'blurry',
        'width' => $side,
        'height' => $side,
        'scheduler' => 'UniPCMultistepScheduler',
        'num_inference_steps' => getenv('API_STEPS') ?: '30',
        'enhance_prompt' => 'yes',
        'guidance_scale' => 7.5,
        'strength' => 0.7,
        'seed' => null,
        'webhook' => getenv('API_WEBHOOK') ?: null,
        'track_id' => getenv('API_TRACK_ID') ?: null,
    ]),
]);

$answer = curl_exec($curl);
if ($answer === false) {
    fwrite(STDERR, curl_error($curl) . "\n");
    exit(1);
}
echo $answer, "\n";
