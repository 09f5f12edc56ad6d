"""How many made clips are heard as the digit that was asked for.

Trains a small convolutional network on spectrograms of the Free Spoken Digit Dataset, the 300 clips held out left aside, and asks it about
those and about clips made by a model:

    for digit in 0 1 2 3 4 5 6 7 8 9; do
        poiesis sample runs/wavenet-fsdd --class $digit --count 20 --length 0.9 --seed 1 --out made/$digit.wav
    done
    python bench/pytorch/spoken_digits.py data/fsdd/recordings.tar.gz made
"""

import argparse
import re
import tarfile
import wave
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy, pad

RATE, EPOCHS, BATCH = 8000, 20, 64
PAUSE = RATE // 8  # Zeros between two made clips.


def samples(file):
    with wave.open(file) as clip:
        return np.frombuffer(clip.readframes(clip.getnframes()), "<i2")


def spectrogram(clip):
    """The logarithm of 96 frequencies at 100 times of the first second."""
    clip = torch.tensor(clip[:RATE].astype(np.float32)) / 32768
    clip = pad(clip, (0, RATE - len(clip)))
    spectrum = torch.stft(clip, 256, 80, window=torch.hann_window(256), return_complex=True).abs()
    return (spectrum[:96, :100] + 1e-3).log()[None]


def recordings(archive):
    """Spectrograms, digits, and which are held out."""
    found = []
    with tarfile.open(archive) as archive:
        for member in archive:
            name = re.fullmatch(r"(\d)_[a-z]+_(\d+)\.wav", Path(member.name).name)
            if name:
                clip = spectrogram(samples(archive.extractfile(member)))
                found.append((member.name, clip, int(name[1]), int(name[2]) < 5))
    _, clips, digits, held_out = zip(*sorted(found, key=lambda entry: entry[0]))
    return torch.stack(clips), torch.tensor(digits), torch.tensor(held_out)


def parts(joined):
    """The clips of one file, which have exact silence between them."""
    edges = np.flatnonzero(np.diff(np.r_[0, joined == 0, 0].astype(int)))
    place = 0
    for start, end in zip(edges[::2], edges[1::2]):
        if end - start >= PAUSE:
            yield joined[place:start]
            place = end
    yield joined[place:]


def network():
    def layer(inputs, outputs):
        return [nn.Conv2d(inputs, outputs, 3, 2, 1), nn.BatchNorm2d(outputs), nn.ReLU()]

    head = [nn.AdaptiveAvgPool2d((4, 4)), nn.Flatten(), nn.Dropout(0.4), nn.Linear(1024, 10)]
    return nn.Sequential(*layer(1, 16), *layer(16, 32), *layer(32, 64), *head)


def train(clips, digits):
    model = network().train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=1e-2)
    for epoch in range(EPOCHS):
        optimizer.param_groups[0]["lr"] = 1e-3 * (1 - epoch / EPOCHS)
        for rows in torch.randperm(len(clips)).split(BATCH):
            moved = torch.stack([clip.roll(int(torch.randint(-8, 9, (1,))), 2) for clip in clips[rows]])
            loss = cross_entropy(model(moved + 0.1 * torch.randn(moved.shape)), digits[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.eval()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", help="recordings.tar.gz of the data set")
    parser.add_argument("made", nargs="+", type=Path, help="folders of 0.wav to 9.wav")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    clips, digits, held_out = recordings(arguments.recordings)
    mean, deviation = clips[~held_out].mean(), clips[~held_out].std()
    clips = (clips - mean) / deviation
    model = train(clips[~held_out], digits[~held_out])
    with torch.no_grad():
        right = model(clips[held_out]).argmax(1) == digits[held_out]
        print(f"held out: {int(right.sum())} of {len(right)}")
        for folder in arguments.made:
            heard = []
            for digit in range(10):
                made = [spectrogram(part) for part in parts(samples(str(folder / f"{digit}.wav")))]
                answers = model((torch.stack(made) - mean) / deviation).argmax(1)
                heard.append((int((answers == digit).sum()), len(made)))
            right, all_of_them = map(sum, zip(*heard))
            print(f"{folder}: {right} of {all_of_them}, digit by digit {[count for count, _ in heard]}")


if __name__ == "__main__":
    main()
