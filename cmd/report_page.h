// SPDX-License-Identifier: Apache-2.0
// Style and script of the page that optimize --report writes.
#pragma once

namespace onnxtool {

inline constexpr const char* kReportStyle = R"(
:root{--fg:#1f2328;--dim:#667;--bg:#fff;--line:#dde;--box:#eef2f7;--edge:#8a9bb0;--wire:#b5bec9;
--goneb:#fbdcdc;--gone:#c55;--newb:#d9f2dd;--new:#3a9a5a;--hit:#ffe08a}
@media(prefers-color-scheme:dark){:root{--fg:#e6e6ea;--dim:#9aa;--bg:#16181c;--line:#333a44;
--box:#252b34;--edge:#5b6b80;--wire:#46505e;--goneb:#4a2226;--newb:#1d3f28;--hit:#8a6d12}}
*{box-sizing:border-box}
body{font:14px/1.45 system-ui,sans-serif;margin:1.2em 1.6em;color:var(--fg);background:var(--bg)}
h1{font-size:20px;margin:0;overflow-wrap:anywhere}h2{font-size:15px;margin:0 0 .3em}
p{margin:.2em 0 1em;color:var(--dim)}
.cards,.tables,.graphs{display:flex;gap:1em;flex-wrap:wrap;align-items:flex-start}
.card{border:1px solid var(--line);border-radius:6px;padding:.5em 1em;min-width:11em}
.card b{display:block;font-size:19px;font-weight:600}.card span{color:var(--dim)}
.tables{margin:1.2em 0;gap:3em}
.scroll{max-height:23em;overflow:auto;border:1px solid var(--line);border-radius:6px}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
td,th{padding:.12em .9em;border-bottom:1px solid var(--line);text-align:right}
th{position:sticky;top:0;background:var(--bg)}
td:first-child,th:first-child,td.bar{text-align:left}
.less{color:var(--new)}.more{color:var(--gone)}
.bar{width:150px}.bar i{display:block;height:5px;background:var(--edge);opacity:.45}
.bar i+i{background:var(--new);opacity:1}
.tools{position:sticky;top:0;z-index:1;background:var(--bg);padding:.5em 0;display:flex;gap:.8em;
align-items:center;flex-wrap:wrap}
.tools input[type=search]{width:22em;padding:.25em .5em}
.key i{display:inline-block;width:1em;height:.8em;margin:0 .3em 0 .8em;border:1px solid}
.graph{flex:1 1 30em;min-width:0;border:1px solid var(--line);border-radius:6px}
.graph h2{padding:.4em .8em;border-bottom:1px solid var(--line);margin:0}
.graph h3{font-size:12px;font-weight:normal;color:var(--dim);margin:.8em;overflow-wrap:anywhere}
.pane{overflow:auto;height:78vh}
.pane svg{display:block;margin:0 auto}
svg text{font:11px system-ui,sans-serif;text-anchor:middle;fill:var(--fg);pointer-events:none}
svg rect{fill:var(--box);stroke:var(--edge)}
svg path{fill:none;stroke:var(--wire)}svg .long{opacity:.4}svg g{cursor:pointer}
.gone rect,.key .gone{fill:var(--goneb);background:var(--goneb);stroke:var(--gone);border-color:var(--gone)}
.new rect,.key .new{fill:var(--newb);background:var(--newb);stroke:var(--new);border-color:var(--new)}
.key .kept{background:var(--box);border-color:var(--edge)}
g.hit rect{fill:var(--hit)}g.at rect{stroke:#e08a00;stroke-width:3}
#info{white-space:pre-wrap;overflow-wrap:anywhere;font:12px/1.4 ui-monospace,monospace;margin:.6em 0;
min-height:4.2em;max-height:11em;overflow:auto}
)";

inline constexpr const char* kReportTools = R"(
<div class="tools"><input id="find" type="search" placeholder="find op, name or type; Enter: next">
<span id="found"></span><span><button data-zoom="1.4">+</button> <button
 data-zoom="0.714">&minus;</button> <button data-zoom="0">100 %</button></span><span class="key"><i
 class="kept"></i>kept<i class="gone"></i>gone or changed<i class="new"></i>new or changed</span></div>
<div id="info">Click a node to see what it is, and where it stands in the other graph.</div>
<div class="graphs">
)";

// Click: what a node is, and where it stands in the other graph. Search: ops, names and types;
// Enter goes on to the next one.
inline constexpr const char* kReportScript = R"(
const $=s=>document.querySelector(s),all=(s,e=document)=>[...e.querySelectorAll(s)];
const panes=all('.pane'),info=$('#info');let hits=[],turn=-1,zoom=1;
const show=g=>{const p=g.closest('.pane'),a=g.getBoundingClientRect(),b=p.getBoundingClientRect();
 p.scrollBy(a.x-b.x-b.width/2+a.width/2,a.y-b.y-b.height/2)};
const select=(g,move)=>{all('.at').forEach(x=>x.classList.remove('at'));if(!g)return;
 info.textContent=g.querySelector('title').textContent;g.classList.add('at');if(move)show(g);
 all('g[data-k="'+g.dataset.k+'"]').forEach(x=>{if(x!==g){x.classList.add('at');show(x)}})};
panes.forEach(p=>{p.scrollLeft=(p.scrollWidth-p.clientWidth)/2});
panes.forEach(p=>p.addEventListener('click',e=>{const g=e.target.closest('g');if(g)select(g)}));
$('#find').addEventListener('input',e=>{const t=e.target.value.toLowerCase();
 hits.forEach(g=>g.classList.remove('hit'));
 hits=t?all('.pane g').filter(g=>g.querySelector('title').textContent.toLowerCase().includes(t)):[];
 hits.forEach(g=>g.classList.add('hit'));turn=-1;$('#found').textContent=t?hits.length+' found':''});
$('#find').addEventListener('keydown',e=>{if(e.key==='Enter'&&hits.length){
 turn=(turn+(e.shiftKey?hits.length-1:1)+hits.length)%hits.length;select(hits[turn],true)}});
all('[data-zoom]').forEach(b=>b.addEventListener('click',()=>{
 zoom=+b.dataset.zoom?Math.min(4,Math.max(.05,zoom*b.dataset.zoom)):1;
 all('.pane svg').forEach(s=>{const v=s.viewBox.baseVal;
 s.setAttribute('width',v.width*zoom);s.setAttribute('height',v.height*zoom)})}));
)";

}  // namespace onnxtool
