"""Names and shapes of Stable Diffusion's and AnimateDiff's tensors in the layouts of their first code.

Written from the modules of latent-diffusion (openaimodel.py, attention.py, model.py), OpenCLIP (transformer.py) and AnimateDiff
(motion_module.py); each function returns a dictionary from a key to its shape. That they are right is checked by diffusers'
own conversion: what it makes of them has to be the state dictionary of the model (make_single_file_fixtures.py).
"""

UNET = "model.diffusion_model."
VAE = "first_stage_model."
CLIP = "cond_stage_model.transformer."
OPEN_CLIP = "cond_stage_model.model."


def dense(name, inputs, outputs, kernel=None, bias=True):
    """A linear layer, or a convolution of that kernel's side."""
    shapes = {f"{name}.weight": [outputs, inputs] + ([kernel, kernel] if kernel else [])}
    return shapes | ({f"{name}.bias": [outputs]} if bias else {})


def norm(name, width):
    return {f"{name}.weight": [width], f"{name}.bias": [width]}


def cross_attention(name, width, context):
    shapes = dense(f"{name}.to_q", width, width, bias=False)
    shapes |= dense(f"{name}.to_k", context, width, bias=False)
    shapes |= dense(f"{name}.to_v", context, width, bias=False)
    return shapes | dense(f"{name}.to_out.0", width, width)


def feed_forward(name, width):
    return dense(f"{name}.net.0.proj", width, 8 * width) | dense(f"{name}.net.2", 4 * width, width)


def spatial_transformer(name, width, context, linear):
    kernel = None if linear else 1
    block = f"{name}.transformer_blocks.0"
    shapes = norm(f"{name}.norm", width) | dense(f"{name}.proj_in", width, width, kernel)
    shapes |= cross_attention(f"{block}.attn1", width, width) | feed_forward(f"{block}.ff", width)
    shapes |= cross_attention(f"{block}.attn2", width, context)
    for i in (1, 2, 3):
        shapes |= norm(f"{block}.norm{i}", width)
    return shapes | dense(f"{name}.proj_out", width, width, kernel)


def unet_res_block(name, inputs, outputs, time):
    shapes = norm(f"{name}.in_layers.0", inputs) | dense(f"{name}.in_layers.2", inputs, outputs, 3)
    shapes |= dense(f"{name}.emb_layers.1", time, outputs)
    shapes |= norm(f"{name}.out_layers.0", outputs) | dense(f"{name}.out_layers.3", outputs, outputs, 3)
    return shapes | (dense(f"{name}.skip_connection", inputs, outputs, 1) if inputs != outputs else {})


def unet(in_channels, widths, blocks, context, linear, attention_levels):
    """`UNetModel`: `blocks` residual blocks at each of `widths`, attention at the first `attention_levels`."""
    first, time = widths[0], 4 * widths[0]
    shapes = dense("time_embed.0", first, time) | dense("time_embed.2", time, time)
    shapes |= dense("input_blocks.0.0", in_channels, first, 3)
    skips, width, count = [first], first, 1
    for level, outputs in enumerate(widths):
        for _ in range(blocks):
            shapes |= unet_res_block(f"input_blocks.{count}.0", width, outputs, time)
            width = outputs
            if level < attention_levels:
                shapes |= spatial_transformer(f"input_blocks.{count}.1", width, context, linear)
            skips.append(width)
            count += 1
        if level + 1 < len(widths):
            shapes |= dense(f"input_blocks.{count}.0.op", width, width, 3)
            skips.append(width)
            count += 1
    shapes |= unet_res_block("middle_block.0", width, width, time)
    shapes |= spatial_transformer("middle_block.1", width, context, linear)
    shapes |= unet_res_block("middle_block.2", width, width, time)
    count = 0
    for level, outputs in reversed(list(enumerate(widths))):
        for block in range(blocks + 1):
            shapes |= unet_res_block(f"output_blocks.{count}.0", width + skips.pop(), outputs, time)
            width, place = outputs, 1
            if level < attention_levels:
                shapes |= spatial_transformer(f"output_blocks.{count}.1", width, context, linear)
                place = 2
            if level > 0 and block == blocks:
                shapes |= dense(f"output_blocks.{count}.{place}.conv", width, width, 3)
            count += 1
    shapes |= norm("out.0", first) | dense("out.2", first, 4, 3)
    return {UNET + key: shape for key, shape in shapes.items()}


def vae_res_block(name, inputs, outputs):
    shapes = norm(f"{name}.norm1", inputs) | dense(f"{name}.conv1", inputs, outputs, 3)
    shapes |= norm(f"{name}.norm2", outputs) | dense(f"{name}.conv2", outputs, outputs, 3)
    return shapes | (dense(f"{name}.nin_shortcut", inputs, outputs, 1) if inputs != outputs else {})


def vae_middle(name, width):
    shapes = vae_res_block(f"{name}.block_1", width, width) | norm(f"{name}.attn_1.norm", width)
    for projection in ("q", "k", "v", "proj_out"):
        shapes |= dense(f"{name}.attn_1.{projection}", width, width, 1)
    return shapes | vae_res_block(f"{name}.block_2", width, width)


def vae(widths, blocks, latents=4):
    """`AutoencoderKL`."""
    shapes, width = dense("encoder.conv_in", 3, widths[0], 3), widths[0]
    for level, outputs in enumerate(widths):
        for block in range(blocks):
            shapes |= vae_res_block(f"encoder.down.{level}.block.{block}", width, outputs)
            width = outputs
        if level + 1 < len(widths):
            shapes |= dense(f"encoder.down.{level}.downsample.conv", width, width, 3)
    shapes |= vae_middle("encoder.mid", width) | norm("encoder.norm_out", width)
    shapes |= dense("encoder.conv_out", width, 2 * latents, 3)
    shapes |= dense("decoder.conv_in", latents, width, 3) | vae_middle("decoder.mid", width)
    for level, outputs in reversed(list(enumerate(widths))):
        for block in range(blocks + 1):
            shapes |= vae_res_block(f"decoder.up.{level}.block.{block}", width, outputs)
            width = outputs
        if level > 0:
            shapes |= dense(f"decoder.up.{level}.upsample.conv", width, width, 3)
    shapes |= norm("decoder.norm_out", width) | dense("decoder.conv_out", width, 3, 3)
    shapes |= dense("quant_conv", 2 * latents, 2 * latents, 1) | dense("post_quant_conv", latents, latents, 1)
    return {VAE + key: shape for key, shape in shapes.items()}


def clip(width, layers, words, tokens=77, inner=None):
    """transformers' `CLIPTextModel` before its version 5: with `text_model.` and a table of positions."""
    inner = inner or 4 * width
    shapes = {
        "embeddings.position_ids": [1, tokens],
        "embeddings.token_embedding.weight": [words, width],
        "embeddings.position_embedding.weight": [tokens, width],
    }
    for layer in range(layers):
        name = f"encoder.layers.{layer}"
        for projection in ("k_proj", "v_proj", "q_proj", "out_proj"):
            shapes |= dense(f"{name}.self_attn.{projection}", width, width)
        shapes |= norm(f"{name}.layer_norm1", width) | norm(f"{name}.layer_norm2", width)
        shapes |= dense(f"{name}.mlp.fc1", width, inner) | dense(f"{name}.mlp.fc2", inner, width)
    shapes |= norm("final_layer_norm", width)
    return {f"{CLIP}text_model.{key}": shape for key, shape in shapes.items()}


def open_clip(width, layers, words, tokens=77, inner=None):
    """OpenCLIP's text tower, as `FrozenOpenCLIPEmbedder` saves it."""
    inner = inner or 4 * width
    shapes = {"positional_embedding": [tokens, width], "text_projection": [width, width], "logit_scale": []}
    shapes |= {"attn_mask": [tokens, tokens], "token_embedding.weight": [words, width]} | norm("ln_final", width)
    for layer in range(layers):
        name = f"transformer.resblocks.{layer}"
        shapes |= norm(f"{name}.ln_1", width) | norm(f"{name}.ln_2", width)
        shapes |= {f"{name}.attn.in_proj_weight": [3 * width, width], f"{name}.attn.in_proj_bias": [3 * width]}
        shapes |= dense(f"{name}.attn.out_proj", width, width)
        shapes |= dense(f"{name}.mlp.c_fc", width, inner) | dense(f"{name}.mlp.c_proj", inner, width)
    return {OPEN_CLIP + key: shape for key, shape in shapes.items()}


def temporal_transformer(name, width, positions):
    name = f"{name}.temporal_transformer"
    block = f"{name}.transformer_blocks.0"
    shapes = norm(f"{name}.norm", width) | dense(f"{name}.proj_in", width, width)
    for i in (0, 1):
        shapes |= cross_attention(f"{block}.attention_blocks.{i}", width, width)
        shapes |= {f"{block}.attention_blocks.{i}.pos_encoder.pe": [1, positions, width]} | norm(f"{block}.norms.{i}", width)
    shapes |= feed_forward(f"{block}.ff", width) | norm(f"{block}.ff_norm", width)
    return shapes | dense(f"{name}.proj_out", width, width)


def motion_module(widths, blocks, positions, middle):
    """AnimateDiff's motion module for a U-Net of these widths, with one in its middle or not."""
    shapes = {}
    for level, width in enumerate(widths):
        for module in range(blocks):
            shapes |= temporal_transformer(f"down_blocks.{level}.motion_modules.{module}", width, positions)
        for module in range(blocks + 1):
            up = len(widths) - 1 - level
            shapes |= temporal_transformer(f"up_blocks.{up}.motion_modules.{module}", width, positions)
    if middle:
        shapes |= temporal_transformer("mid_block.motion_modules.0", widths[-1], positions)
    return shapes
