"""A map that stays: the same module with its data in one piece of HTML, for where no Python answers any more.

An executed notebook that is exported, mailed or opened years later has no kernel; its widgets are dead. This stands in
their place: move, zoom, legend, hover and selection work, and what Python would have to compute is left out.
"""

from __future__ import annotations

import base64
import json
import uuid
from pathlib import Path

import numpy as np

from workbench.explorer.bundle import bundle
from workbench.explorer.map_state import MapState

HERE = Path(__file__).parent
MOST = 20_000  # points; points come in a random order, so that the first ones are a fair sample
COLUMNS = ("points", "modality", "codes")  # in order of points, with bytes a point
WIDTH = {"points": 8, "modality": 1, "codes": 2}


def still(map_state: MapState) -> str:
    """A map state as it stands as one piece of HTML, with its drawn picture inside for where no script runs."""
    n = min(len(map_state.item), MOST)
    traits = map_state.traits()
    data = {name: traits[name][: n * WIDTH[name]] for name in COLUMNS} | {"mask": traits["mask"][: (n + 7) // 8]}
    pairs = np.frombuffer(traits["pairs"], dtype="<u4").reshape(-1, 2)
    kept = (pairs < n).all(1)
    data["pairs"] = pairs[kept].tobytes()
    data["pair_codes"] = np.frombuffer(traits["pair_codes"], dtype=np.uint8)[kept].tobytes()
    items, place = np.unique(map_state.item[:n], return_inverse=True)
    names = [str(x) for x in map_state.inspection.items["name"].iloc[items]]
    packed = {k: base64.b64encode(v).decode() for k, v in data.items()}
    packed["item"] = base64.b64encode(place.astype("<u4").tobytes()).decode()
    told = json.dumps([packed, traits["spec"] | {"points": n}, names], ensure_ascii=False).replace("<", "\\u003c")
    module = base64.b64encode(bundle().encode()).decode()
    picture = base64.b64encode(map_state.png()).decode()
    where = f"still-{uuid.uuid4().hex}"  # a page may hold several, of several notebooks
    sample = "" if n == len(map_state.item) else f"<p>A fair sample of {n:,} of {len(map_state.item):,} points.</p>"
    return (
        f'<div id="{where}" style="max-width:960px"><img alt="the map" style="width:100%" '
        f'src="data:image/png;base64,{picture}"></div>{sample}<script type="module">'
        f"const [packed, spec, names] = {told};"
        "const open = (t) => Uint8Array.from(atob(t), (c) => c.charCodeAt(0));"
        "const data = { spec, asked: -1, tip: {}, look: {}, figures: {}, png: new Uint8Array(0) };"
        "for (const k in packed) data[k] = open(packed[k]); const item = new Uint32Array(data.item.buffer);"
        f"{(HERE / 'static_map.js').read_text()}"
        f'const made = await import("data:text/javascript;base64,{module}");'
        f'const place = document.getElementById("{where}"); place.replaceChildren();'
        "made.default.render({ model, el: place });"
        "</script>"
    )
