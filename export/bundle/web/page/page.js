// The page: a text in, its labels and the time that it took; texts are never markup.
import { openModel } from "./model.js";

const element = (id) => document.getElementById(id);
const pack = await (await fetch("page/pack.json")).json();
let ask;

function line(table, ...cells) {
  const row = table.insertRow();
  for (const cell of cells) {
    const place = row.insertCell();
    place.textContent = cell;
    place.dir = "auto";
  }
}

const percent = (share) => `${(100 * share).toFixed(1)} %`;
const time = (milliseconds) => `${milliseconds.toFixed(1)} ms`;

async function open() {
  const variant = pack.variants[element("variant").selectedIndex];
  element("ask").disabled = element("examples-button").disabled = true;
  element("state").textContent = `${variant.name}: loading ${(variant.bytes / 1e6).toFixed(2)} MB …`;
  const started = performance.now();
  ask = await openModel(variant.dtype, pack.max_length, pack.prefix);
  element("state").textContent = `${variant.name}: ready after ${time(performance.now() - started)}`;
  element("ask").disabled = element("examples-button").disabled = false;
}

async function answer(event) {
  event.preventDefault();
  const { labels, milliseconds } = await ask(element("text").value);
  element("answer").replaceChildren();
  for (const [label, probability] of labels.slice(0, 5)) line(element("answer"), label, percent(probability));
  element("latency").textContent = time(milliseconds);
}

async function answerExamples() {
  element("examples").replaceChildren();
  for (const { lang, text } of pack.examples) {
    const { labels, milliseconds } = await ask(text);
    line(element("examples"), lang, text, labels[0][0], percent(labels[0][1]), time(milliseconds));
  }
}

const guarded = (work) => (event) =>
  work(event).catch((error) => {
    element("state").textContent = `This did not work: ${error.message ?? error}`;
  });

document.title = element("title").textContent = pack.name;
for (const { name, bytes } of pack.variants) element("variant").add(new Option(`${name}, ${(bytes / 1e6).toFixed(2)} MB`));
element("text").value = pack.examples[0]?.text ?? "";
element("variant").addEventListener("change", guarded(open));
element("form").addEventListener("submit", guarded(answer));
element("examples-button").addEventListener("click", guarded(answerExamples));
await guarded(open)();
