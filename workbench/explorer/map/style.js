// What the map looks like, light and dark; every rule begins with the class of its root.

/** The style sheet that a map brings along. */
export const CSS = `
.wbm{
  --ink:#1f2933;--faint:#616b75;--line:#dfe3e8;--paper:#ffffff;--accent:#0072B2;--chip:#f3f5f7;
  color:var(--ink);
  font:13px/1.4 system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans",sans-serif;
  position:relative;width:100%;
}
.wbm.dark{
  --ink:#e6e9ec;--faint:#9aa5b1;--line:#3a444e;--paper:#14181c;--accent:#56B4E9;--chip:#232a31;
}
.wbm .bar{
  display:flex;gap:4px;align-items:center;flex-wrap:wrap;min-height:32px;padding-bottom:4px;
}
.wbm button{
  font:inherit;color:var(--ink);background:var(--paper);border:1px solid var(--line);
  border-radius:4px;padding:2px 9px;cursor:pointer;min-height:26px;
}
.wbm .sign{font-weight:600}
.wbm .sign+.word:not(:empty){margin-left:5px}
.wbm button[aria-pressed=true]{background:var(--accent);border-color:var(--accent);color:#fff}
.wbm.dark button[aria-pressed=true]{color:#14181c}
.wbm button:focus-visible,.wbm .stage:focus-visible,.wbm input:focus-visible{
  outline:2px solid var(--accent);outline-offset:1px;
}
.wbm .hint,.wbm .faith{color:var(--faint);font-size:12px;margin-left:6px}
.wbm .faith{
  margin-left:auto;padding-left:14px;font-size:13px;
  font-family:ui-monospace,Menlo,Consolas,"Liberation Mono",monospace;
}
.wbm .stage{
  position:relative;border:1px solid var(--line);background:var(--paper);overflow:hidden;
  border-radius:4px;touch-action:none;
}
.wbm canvas,.wbm .still{position:absolute;left:0;top:0;width:100%;height:100%}
.wbm .chip{
  position:absolute;left:8px;bottom:8px;background:var(--chip);border:1px solid var(--line);
  border-radius:13px;padding:2px 10px;font-size:12px;
}
.wbm .count{
  position:absolute;right:8px;bottom:8px;color:var(--faint);
  font:12px ui-monospace,Menlo,Consolas,"Liberation Mono",monospace;background:var(--paper);
  padding:0 4px;
}
.wbm .tip{
  position:absolute;pointer-events:none;background:var(--paper);border:1px solid var(--line);
  border-radius:4px;padding:6px 8px;max-width:240px;font-size:12px;
  box-shadow:0 2px 8px rgba(0,0,0,.12);z-index:3;
}
.wbm .tip img{width:56px;height:56px;display:block}
.wbm .tip b{display:block}
.wbm .tip span{display:block;color:var(--faint)}
.wbm .legend{
  position:absolute;right:8px;top:8px;max-width:190px;max-height:calc(100% - 60px);overflow:auto;
  background:color-mix(in srgb,var(--paper) 88%,transparent);border:1px solid var(--line);
  border-radius:4px;padding:5px 6px;font-size:12px;z-index:2;
}
.wbm .legend input{
  width:100%;box-sizing:border-box;font:inherit;margin:2px 0 4px;color:var(--ink);
  background:var(--paper);border:1px solid var(--line);border-radius:3px;
}
.wbm .legend button{
  display:flex;width:100%;border:0;background:none;padding:0 2px;min-height:21px;gap:6px;
  align-items:center;text-align:left;
}
.wbm .legend button[aria-pressed=true]{background:var(--chip);color:var(--ink);font-weight:600}
.wbm .legend button.off{opacity:.35}
.wbm .legend .n{
  margin-left:auto;color:var(--faint);
  font-family:ui-monospace,Menlo,Consolas,"Liberation Mono",monospace;font-weight:400;
}
.wbm .legend .name{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.wbm .legend svg{flex:none}
.wbm .help{
  position:absolute;inset:0;background:color-mix(in srgb,var(--paper) 94%,transparent);
  padding:20px 28px;z-index:4;columns:2;
}
.wbm .help kbd{
  font:12px ui-monospace,Menlo,Consolas,"Liberation Mono",monospace;border:1px solid var(--line);
  border-radius:3px;padding:0 5px;margin-right:6px;
}
.wbm [hidden]{display:none!important}
`;
