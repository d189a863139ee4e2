/* Put behind a page's own script: uses the page as a reader would and writes what it saw into the document. */
"use strict";
{
const seen = {};
const blank = c => !c.getContext("2d").getImageData(0, 0, c.width, c.height).data.some((v, i) => i % 4 === 3 && v);
const small = [...document.querySelectorAll("canvas.map")], big = document.getElementById("big");
const picture = () => big.getContext("2d").getImageData(0, 0, big.width, big.height).data.join();
seen.maps = small.length;
seen.blank = small.filter(blank).length + blank(big);
seen.tokens = [...document.querySelectorAll(".tok")].map(b => b.textContent).join(" ");
seen.layers = document.getElementById("layer").options.length;
seen.coloured = [...document.querySelectorAll(".tok")].filter(b => getComputedStyle(b).backgroundColor !== "rgba(0, 0, 0, 0)").length > 1;
const first = picture();
document.getElementById("layer").value = 1;
document.getElementById("layer").dispatchEvent(new Event("change"));
seen.other = picture() !== first;
document.getElementById("head").value = -1;
document.getElementById("head").dispatchEvent(new Event("change"));
seen.label = big.getAttribute("aria-label");
small[small.length - 1].click();
seen.rollout = big.getAttribute("aria-label");
const token = document.querySelectorAll(".tok")[3];
token.click();
document.querySelector("input[value=attention]").click();
seen.pressed = token.getAttribute("aria-pressed");
seen.strongest = document.querySelector("#strongest caption").textContent;
seen.named = document.querySelectorAll("canvas:not([aria-label]), select:not(label select), table:not(:has(caption))").length === 0;
seen.background = getComputedStyle(document.body).backgroundColor;
for (const [name, value] of Object.entries(seen)) {
  const p = document.createElement("p");
  p.className = "probe"; p.textContent = `${name}=${value}`;
  document.body.append(p);
}
}
