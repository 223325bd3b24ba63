// A map of paired points, for anywidget in a notebook and for Panel's AnyWidgetComponent.

import { drawMap } from "./draw.js";

export default { render: drawMap };
