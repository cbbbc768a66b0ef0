"""The network of TAEHV (https://github.com/madebyollin/taehv, `taew2_1` and `taew2_2`), layers numbered as its files number them."""

import torch
from torch import nn
from torch.nn import functional

GROWTH = [1, 2, 2]


class Block(nn.Module):
    """Sees each frame of `[frames, channels, height, width]` and the one before it."""

    def __init__(self, channels):
        super().__init__()
        widths = [2 * channels, channels, channels]
        first, second, third = (nn.Conv2d(width, channels, 3, padding=1) for width in widths)
        self.conv = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), third)

    def forward(self, x):
        before = torch.cat([torch.zeros_like(x[:1]), x[:-1]])
        return functional.relu(self.conv(torch.cat([x, before], dim=1)) + x)


class Grow(nn.Module):
    """Makes several frames of each."""

    def __init__(self, channels, frames):
        super().__init__()
        self.conv = nn.Conv2d(channels, frames * channels, 1, bias=False)

    def forward(self, x):
        return self.conv(x).reshape(-1, *x.shape[1:])


class Limit(nn.Module):
    def forward(self, x):
        return 3 * torch.tanh(x / 3)


class Decoder(nn.Module):
    def __init__(self, latents, channels, patch):
        super().__init__()
        layers = [Limit(), nn.Conv2d(latents, channels[0], 3, padding=1), nn.ReLU()]
        for frames, width, out in zip(GROWTH, channels, channels[1:]):
            layers += [Block(width) for _ in range(3)]
            layers += [nn.Upsample(scale_factor=2), Grow(width, frames)]
            layers += [nn.Conv2d(width, out, 3, padding=1, bias=False)]
        layers += [nn.ReLU(), nn.Conv2d(channels[-1], 3 * patch**2, 3, padding=1)]
        self.decoder = nn.Sequential(*layers)
        self.patch = patch

    def forward(self, latents):
        """Of `[1, channels, frames, height, width]` the clip, in 0..1, without the frames before that of the first latent frame."""
        x = self.decoder(latents[0].transpose(0, 1))
        frames = functional.pixel_shuffle(x, self.patch).clamp(0, 1)
        return frames.transpose(0, 1)[None, :, 3:]
