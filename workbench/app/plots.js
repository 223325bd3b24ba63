// Panel's pane (1.9) lays a figure out once more up to 25 ms after it left the page, or purges it while plotly still
// draws: plotly then fails at what is gone. Here a figure that left is let be, and purged once it has been drawn.
{
  const drawing = new WeakMap(), left = new WeakSet(), purge = Plotly.purge;
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
