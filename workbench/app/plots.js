// What Panel's pane (1.9) asks of plotly, and plotly fails at, when a screen is left on a slow machine: to lay a figure out
// up to 25 ms after it was purged, and to purge it while it is drawn. It is let be, and purged once it has been drawn.
{
  const drawing = new WeakMap(),
    left = new WeakSet(),
    purge = Plotly.purge;
  for (const name of ["newPlot", "react", "relayout"]) {
    const act = Plotly[name];
    Plotly[name] = (figure, ...rest) => {
      if (left.has(figure)) return Promise.resolve(figure);
      const drawn = act(figure, ...rest);
      drawing.set(figure, Promise.allSettled([drawing.get(figure), drawn]));
      return drawn;
    };
  }
  Plotly.purge = (figure) => {
    left.add(figure);
    Promise.resolve(drawing.get(figure)).then(() => purge(figure));
  };
}
