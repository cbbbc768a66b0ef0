"""Names and shapes of Wan's autoencoder in the layout of its own code, `Wan2.1_VAE.pth` and `Wan2.2_VAE.pth`."""


def conv(name, shape):
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def residual(name, width, out):
    shapes = {f"{name}.residual.0.gamma": [width, 1, 1, 1]}
    shapes |= conv(f"{name}.residual.2", [out, width, 3, 3, 3])
    shapes |= {f"{name}.residual.3.gamma": [out, 1, 1, 1]}
    shapes |= conv(f"{name}.residual.6", [out, out, 3, 3, 3])
    if width != out:
        shapes |= conv(f"{name}.shortcut", [out, width, 1, 1, 1])
    return shapes


def middle(name, width):
    shapes = residual(f"{name}.middle.0", width, width)
    shapes |= {f"{name}.middle.1.norm.gamma": [width, 1, 1]}
    shapes |= conv(f"{name}.middle.1.to_qkv", [3 * width, width, 1, 1])
    shapes |= conv(f"{name}.middle.1.proj", [width, width, 1, 1])
    return shapes | residual(f"{name}.middle.2", width, width)


def ends(name, begins, first, last, out):
    shapes = conv(f"{name}.conv1", [first, begins, 3, 3, 3])
    shapes |= {f"{name}.head.0.gamma": [last, 1, 1, 1]}
    return shapes | conv(f"{name}.head.2", [out, last, 3, 3, 3])


def resample(name, width, out, time_out):
    shapes = conv(f"{name}.resample.1", [out, width, 3, 3])
    return shapes | (conv(f"{name}.time_conv", [time_out, width, 3, 1, 1]) if time_out else {})


def names(name, inner, is_residual):
    """Names of layers: of one list, or of a list for each level."""
    count = 0

    def next_name(level, layer):
        nonlocal count
        count += 1
        return f"{name}.{level}.{inner}.{layer}" if is_residual else f"{name}.{count - 1}"

    return next_name


def encoder(config):
    mult, blocks, halved = config["dim_mult"], config["num_res_blocks"], config["temperal_downsample"]
    dims = [config["base_dim"] * m for m in [1] + mult]
    shapes = ends("encoder", config["in_channels"], dims[0], dims[-1], 2 * config["z_dim"])
    name = names("encoder.downsamples", "downsamples", config["is_residual"])
    for level, (width, out) in enumerate(zip(dims, dims[1:])):
        for layer in range(blocks):
            shapes |= residual(name(level, layer), width if layer == 0 else out, out)
        if level < len(halved):
            shapes |= resample(name(level, blocks), out, out, out if halved[level] else None)
    return shapes | middle("encoder", dims[-1])


def decoder(config):
    mult, blocks, doubled = config["dim_mult"], config["num_res_blocks"], config["temperal_downsample"][::-1]
    residuals = config["is_residual"]
    dims = [config["decoder_base_dim"] * m for m in [mult[-1]] + mult[::-1]]
    shapes = ends("decoder", config["z_dim"], dims[0], dims[-1], config["out_channels"])
    name = names("decoder.upsamples", "upsamples", residuals)
    for level, (width, out) in enumerate(zip(dims, dims[1:])):
        width = width if residuals or level == 0 else width // 2
        for layer in range(blocks + 1):
            shapes |= residual(name(level, layer), width if layer == 0 else out, out)
        if level < len(doubled):
            enlarged = out if residuals else out // 2
            shapes |= resample(name(level, blocks + 1), out, enlarged, 2 * out if doubled[level] else None)
    return shapes | middle("decoder", dims[0])


def wan_vae(config):
    latents = config["z_dim"]
    shapes = encoder(config) | decoder(config)
    shapes |= conv("conv1", [2 * latents, 2 * latents, 1, 1, 1])
    return shapes | conv("conv2", [latents, latents, 1, 1, 1])
