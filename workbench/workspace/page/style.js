// What the workspace looks like, light and dark; every rule begins with the class of its root.

/** The style sheet that a workspace brings along. */
export const PAGE_CSS = `
.wbs{
  --ink:#1f2933;--faint:#5b6570;--line:#dfe3e8;--paper:#ffffff;--ground:#f6f7f9;--accent:#0072B2;
  --bad:#b34700;--good:#00694f;--on:#e4eff7;--fill:#9fb3c4;
  --mono:ui-monospace,"SF Mono",Menlo,Consolas,"Liberation Mono",monospace;
  color:var(--ink);background:var(--paper);
  font:13px/1.4 system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans",sans-serif;
  display:grid;overflow:hidden;outline:0;text-align:left;
  grid-template:40px minmax(0,1fr) / var(--left,300px) 7px minmax(0,1fr) 7px var(--right,380px);
  grid-template-areas:"top top top top top" "left ls middle rs right";
}
.wbs.dark{
  --ink:#e6e9ec;--faint:#a3adb8;--line:#353e47;--paper:#14181c;--ground:#1b2127;--accent:#56B4E9;
  --bad:#ff9d5c;--good:#5fd0ac;--on:#1f3442;--fill:#5d7183;
}
.wbs.whole{height:100vh}
.wbs *{box-sizing:border-box}
.wbs [hidden]{display:none!important}
.wbs .top{
  grid-area:top;display:flex;gap:10px;align-items:center;padding:0 12px;white-space:nowrap;
  border-bottom:1px solid var(--line);overflow-x:auto;overflow-y:hidden;
}
.wbs .top>*{flex:none}
.wbs .top .push{margin-left:auto}
.wbs .top .why{flex:0 1 auto;overflow:hidden;text-overflow:ellipsis}
.wbs .top b{color:var(--accent)}
.wbs .left{grid-area:left;overflow:auto;padding:10px 8px 16px 12px}
.wbs .right{grid-area:right;overflow:auto;padding:0 12px 16px 8px}
.wbs .middle{grid-area:middle;display:flex;flex-direction:column;min-height:0;min-width:0}
.wbs .splitter{cursor:col-resize;touch-action:none;background:var(--ground)}
.wbs .splitter.at-left{grid-area:ls}.wbs .splitter.at-right{grid-area:rs}
.wbs .splitter:hover{background:var(--fill)}
.wbs.no-left .left,.wbs.no-right .right{visibility:hidden;padding:0}
.wbs .tools{display:flex;gap:6px;align-items:center;min-height:36px;padding:0 6px;flex:none}
.wbs label{display:inline-flex;gap:5px;align-items:center;color:var(--faint);min-width:0}
.wbs .tools label{flex:0 0 auto}
.wbs .tools select{max-width:140px;min-width:90px}
.wbs .tools input{width:100%;min-width:50px;max-width:220px;flex:1 1 50px}
.wbs .tools button{flex:none}
.wbs .map{position:relative;flex:1;min-height:160px}
.wbs .said{
  position:absolute;left:50%;bottom:34px;transform:translateX(-50%);z-index:3;max-width:80%;
  background:var(--ink);color:var(--paper);border-radius:4px;padding:4px 12px;font-size:12.5px;
}
.wbs .foot{flex:none;border-top:1px solid var(--line);padding:4px 10px 6px}
.wbs .drawer{flex:none;height:240px;overflow:auto;border-top:1px solid var(--line);padding:0 8px}
.wbs .wbm{height:100%}
.wbs .wbm .stage{height:100%!important;border:0;border-top:1px solid var(--line);border-radius:0}
.wbs .wbm .bar{
  position:absolute;left:26px;top:8px;z-index:2;flex-direction:column;width:28px;gap:3px;padding:0;
  flex-wrap:nowrap;
}
.wbs .wbm .bar button{width:28px;padding:0;text-align:center}
.wbs .wbm .bar .word,.wbs .wbm .hint{display:none}
.wbs .wbm .faith{
  position:absolute;left:58px;top:0;width:max-content;white-space:nowrap;font-size:11.5px;
  max-width:min(420px,40vw);overflow:hidden;text-overflow:ellipsis;
  background:color-mix(in srgb,var(--paper) 82%,transparent);margin:0;padding:2px 6px;
}
.wbs .wbm .chip{display:none}
.wbs button,.wbs select,.wbs input{
  font:inherit;color:var(--ink);background:var(--paper);border:1px solid #8b96a1;border-radius:4px;
  min-height:26px;padding:1px 8px;
}
.wbs button{cursor:pointer}
.wbs button:hover{background:var(--on)}
.wbs button:disabled{opacity:.5;cursor:default}
.wbs button.bare{border:0;background:none;padding:0 4px;color:var(--accent)}
.wbs th:has(.pin){white-space:nowrap}
.wbs button.pin{position:absolute;min-width:24px;opacity:0}
.wbs button.pin{color:var(--faint);background:var(--paper)}
.wbs th:hover .pin,.wbs button.pin:focus-visible,.wbs button.pin[aria-pressed=true]{opacity:1}
.wbs button.pin[aria-pressed=true]{color:var(--accent);font-weight:700}
.wbs button[aria-pressed=true],.wbs button[aria-selected=true],.wbs .tabs button[aria-current=true]{
  background:var(--on);border-color:var(--accent);
}
.wbs input[type=range]{padding:0;width:100%;accent-color:var(--accent)}
.wbs a{color:var(--accent);text-decoration:none}
.wbs p a{text-decoration:underline}
.wbs :focus-visible{outline:2px solid var(--accent);outline-offset:1px}
.wbs h2{font-size:14px;margin:0 0 6px}
.wbs h3{font-size:13px;margin:14px 0 4px}
.wbs p{margin:4px 0}
.wbs .quiet{color:var(--faint);font-size:12.5px}
.wbs .num{font-family:var(--mono);font-size:12.5px;white-space:nowrap}
.wbs .bad{color:var(--bad)}.wbs .good{color:var(--good)}
.wbs .cards{list-style:none;margin:0;padding:0}
.wbs .card{
  display:block;width:100%;text-align:left;border:1px solid var(--line);border-radius:6px;
  margin:0 0 6px;padding:7px 9px;white-space:normal;
}
.wbs .card[aria-pressed=true]{box-shadow:inset 3px 0 var(--accent)}
.wbs .card svg{display:block;margin-top:4px;max-width:100%}
.wbs .card .num{white-space:normal;color:var(--faint);font-size:12px}
.wbs .card .next{display:block;color:var(--faint);font-size:12.5px;margin-top:3px}
.wbs details{margin:8px 0}.wbs summary{cursor:pointer;color:var(--faint)}
.wbs table{border-collapse:collapse;width:100%}
.wbs th{
  text-align:left;color:var(--faint);font-weight:600;position:sticky;top:0;
  background:var(--paper);
}
.wbs th,.wbs td{padding:2px 10px 2px 0;border-bottom:1px solid var(--line);vertical-align:top}
.wbs td.num,.wbs th.num{text-align:right}
.wbs .tabs{
  display:flex;gap:4px;position:sticky;top:0;background:var(--paper);padding:8px 0 6px;z-index:1;
}
.wbs .row{display:flex;gap:6px;align-items:center;flex-wrap:wrap;margin:4px 0}
.wbs .row .push{margin-left:auto}
.wbs .text{overflow-wrap:anywhere}
.wbs .two{display:-webkit-box;-webkit-line-clamp:2;-webkit-box-orient:vertical;overflow:hidden}
.wbs img{width:44px;height:44px;background:#fff;border-radius:3px;flex:none}
.wbs .meet{
  display:flex;gap:8px;align-items:flex-start;padding:5px 4px;
  border-top:1px solid var(--line);
}
.wbs .meet .what{flex:1;min-width:0}
.wbs .meet.match{background:var(--on)}
.wbs .meet.now{box-shadow:inset 3px 0 var(--accent)}
.wbs .verdicts{display:flex;gap:3px;flex-wrap:wrap;margin-top:2px}
.wbs .verdicts button{min-height:24px;padding:0 6px;font-size:12px}
.wbs .cosine{
  display:inline-block;height:5px;background:var(--fill);border-radius:2px;
  vertical-align:2px;
}
.wbs .chart{margin:10px 0 4px}
.wbs .chart h3{margin:0 0 2px;display:flex;gap:6px}
.wbs .chart h3 .quiet{margin-left:auto;font-weight:400}
.wbs .value{
  display:grid;grid-template-columns:38% 1fr auto;gap:6px;width:100%;border:0;border-radius:2px;
  min-height:24px;padding:1px 2px;text-align:left;align-items:center;background:none;
}
.wbs .value .name{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.wbs .value .all{height:9px;background:var(--line);display:block;position:relative}
.wbs .value .part{position:absolute;left:0;top:0;bottom:0;background:var(--accent)}
.wbs .bins{display:flex;height:48px;align-items:stretch;gap:1px}
.wbs .bin{
  flex:1;border:0;border-radius:0;padding:0;min-height:0;min-width:0;position:relative;
  background:none;touch-action:none;
}
.wbs .bin i{position:absolute;left:0;right:0;bottom:0;background:var(--line)}
.wbs .bin i+i{background:var(--accent)}
.wbs .ends{display:flex;justify-content:space-between;font:11.5px var(--mono);color:var(--faint)}
.wbs .wide{overflow-x:auto}
.wbs .right td.num{white-space:normal}
.wbs td:first-child{min-width:84px}
.wbs .matrix td:first-child{min-width:0}
.wbs .matrix td,.wbs .matrix th{padding:0;border:0;position:static}
.wbs .matrix button{
  width:100%;min-height:24px;border:0;border-radius:0;padding:0 2px;font:11.5px var(--mono);
}
.wbs .matrix th{
  font-weight:400;max-width:78px;overflow:hidden;text-overflow:ellipsis;white-space:nowrap;
  padding-right:6px;
}
.wbs .scrub{display:grid;grid-template-columns:auto 1fr;gap:2px 12px;align-items:center}
.wbs .sparks{display:flex;gap:18px}
.wbs .sparks figure{margin:0;flex:1;min-width:0}
.wbs .sparks figcaption{
  font-size:12px;color:var(--faint);white-space:nowrap;overflow:hidden;text-overflow:ellipsis;
}
.wbs .sparks .num{color:var(--ink)}
.wbs .sparks svg{width:100%;height:34px;display:block}
.wbs .drawer td{
  height:28px;vertical-align:middle;white-space:nowrap;max-width:260px;overflow:hidden;
  text-overflow:ellipsis;
}
.wbs .drawer th{white-space:nowrap}
.wbs .drawer td img{width:24px;height:24px;display:block}
.wbs .drawer tr[data-act]{cursor:pointer}
.wbs .drawer tr[data-now] td{background:var(--on)}
.wbs .pick{position:relative;margin:0}
.wbs .pick div{
  position:absolute;right:0;top:22px;z-index:3;width:420px;max-height:180px;overflow:auto;
  background:var(--paper);border:1px solid var(--line);border-radius:4px;padding:6px;
}
.wbs .drawer .row{position:sticky;left:0}
.wbs .palette{
  position:fixed;top:12vh;margin:0 auto;width:min(560px,90vw);border:1px solid var(--line);
  border-radius:8px;background:var(--paper);color:var(--ink);padding:10px;
}
.wbs .palette::backdrop{background:rgba(0,0,0,.25)}
.wbs .palette input{width:100%;min-height:32px}
.wbs .commands button{display:block;width:100%;text-align:left;border:0;border-radius:4px}
.wbs.list{
  height:100vh;grid-template:40px minmax(0,1fr) / minmax(0,1fr);
  grid-template-areas:"top" "body";
}
.wbs .body{grid-area:body;overflow:auto;padding:0 16px 24px}
.wbs .body td{padding:5px 14px 5px 0;vertical-align:middle}
.wbs .body th button{font-weight:600;white-space:nowrap}
.wbs .body .group td{background:var(--ground);font-weight:600}
.wbs .body tr:hover td{background:var(--on)}
.wbs .spark{width:110px;height:28px;display:block}
@media (max-width:1000px){
  .wbs .top{flex-wrap:wrap;overflow:visible}
  .wbs,.wbs.whole{
    height:auto;grid-template:auto auto auto auto / minmax(0,1fr);overflow:auto;
    grid-template-areas:"top" "middle" "right" "left";
  }
  .wbs .splitter{display:none}
  .wbs .map{min-height:56vh;height:56vh}
  .wbs .left,.wbs .right{overflow:visible}
}
`;
