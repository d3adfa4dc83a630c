"""Programs on images and signals."""
import numpy as np


def convolve(image, kernel):
    """A valid two-dimensional correlation by loops over the offsets of the kernel."""
    kh, kw = kernel.shape
    h, w = image.shape[0] - kh + 1, image.shape[1] - kw + 1
    out = np.zeros((h, w))
    for i in range(kh):
        for j in range(kw):
            out += kernel[i, j] * image[i:i + h, j:j + w]
    return out


def sobel(image):
    """The strength of edges, scaled to 0..255 as bytes."""
    gx = np.zeros_like(image)
    gy = np.zeros_like(image)
    gx[1:-1, 1:-1] = (image[:-2, 2:] + 2 * image[1:-1, 2:] + image[2:, 2:]
                      - image[:-2, :-2] - 2 * image[1:-1, :-2] - image[2:, :-2])
    gy[1:-1, 1:-1] = (image[2:, :-2] + 2 * image[2:, 1:-1] + image[2:, 2:]
                      - image[:-2, :-2] - 2 * image[:-2, 1:-1] - image[:-2, 2:])
    magnitude = np.sqrt(gx ** 2 + gy ** 2)
    return np.clip(255 * magnitude / magnitude.max(), 0, 255).astype(np.uint8)


def bilateral(image, sigma_space=1.5, sigma_value=0.2, radius=2):
    """Smoothing that keeps edges."""
    padded = np.pad(image, radius, mode="edge")
    total, weights = np.zeros_like(image), np.zeros_like(image)
    h, w = image.shape
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            shifted = padded[radius + dy:radius + dy + h, radius + dx:radius + dx + w]
            near = np.exp(-(dx * dx + dy * dy) / (2 * sigma_space ** 2))
            weight = near * np.exp(-(shifted - image) ** 2 / (2 * sigma_value ** 2))
            total += weight * shifted
            weights += weight
    return total / weights


def moving_average(signal, n=8):
    """By differences of a cumulative sum."""
    c = np.cumsum(signal, dtype=float)
    c[n:] = c[n:] - c[:-n]
    return c[n - 1:] / n


def histogram(values, bins=16):
    """How many values fall into each of equal bins between 0 and 1."""
    index = np.minimum((values * bins).astype(int), bins - 1)
    counts = np.zeros(bins, dtype=int)
    np.add.at(counts, index, 1)
    return counts


def spectral_step(u, dt, nu=0.1):
    """One step of the diffusion equation in Fourier space."""
    k = 2j * np.pi * np.fft.fftfreq(u.size)
    return np.fft.ifft(np.exp(nu * dt * k ** 2) * np.fft.fft(u)).real


def resize(image, height, width):
    """Bilinear interpolation by index arrays."""
    y = np.linspace(0, image.shape[0] - 1, height)
    x = np.linspace(0, image.shape[1] - 1, width)
    y0, x0 = np.floor(y).astype(int), np.floor(x).astype(int)
    y1, x1 = np.minimum(y0 + 1, image.shape[0] - 1), np.minimum(x0 + 1, image.shape[1] - 1)
    dy, dx = (y - y0)[:, None], (x - x0)[None, :]
    top = image[y0[:, None], x0] * (1 - dx) + image[y0[:, None], x1] * dx
    bottom = image[y1[:, None], x0] * (1 - dx) + image[y1[:, None], x1] * dx
    return top * (1 - dy) + bottom * dy
