// The page: a question in, its answer and the time that it took; texts are never markup.
import { openModel } from "./model.js";
import { FIELDS, inWords, linesOf } from "./shown.js";
import { similarity } from "./tasks.js";

const element = (id) => document.getElementById(id);
const pack = await (await fetch("page/pack.json")).json();
const { task } = pack.model;
const fields = { ...FIELDS.usual, ...FIELDS[task] };
const device = new URLSearchParams(location.search).get("device") === "webgpu" && navigator.gpu ? "webgpu" : "wasm";
let ask;

function line(table, ...cells) {
  const row = table.insertRow();
  for (const cell of cells) {
    const place = row.insertCell();
    place.textContent = cell;
    place.dir = "auto";
  }
}

const time = (milliseconds) => `${milliseconds.toFixed(1)} ms`;
const megabytes = ({ bytes }) => `${(bytes / 1e6).toFixed(2)} MB`;
const asText = (text) => (Array.isArray(text) ? text.join(" ") : text);

async function open() {
  const variant = pack.variants[element("variant").selectedIndex];
  element("ask").disabled = element("examples-button").disabled = true;
  element("state").textContent = `${variant.name}: loading ${megabytes(variant)} …`;
  const started = performance.now();
  ask = await openModel(pack, variant, device);
  element("state").textContent = `${variant.name}: ready after ${time(performance.now() - started)}`;
  element("ask").disabled = element("examples-button").disabled = false;
}

/** What the second field holds: a text, or one a line. */
const seconds = () => (fields.several ? element("pair").value.split("\n").filter((one) => one.trim()) : [element("pair").value]);

/** The passages or texts of the second field by their scores, the best first. */
async function ranked(text, way) {
  const scores = [];
  let spent = 0;
  const asked = async (question) => {
    const { prediction, milliseconds } = await ask(question);
    spent += milliseconds;
    return prediction;
  };
  const vector = pack.model.similarity && (await asked({ text, way }));
  for (const second of seconds()) {
    const other = pack.ways.some(({ name }) => name === "passage") ? "passage" : way;
    const score = vector
      ? similarity(pack.model.similarity, vector, await asked({ text: second, way: other }))
      : await asked({ text, text_pair: second });
    scores.push([second, score]);
  }
  const head = vector ? [["vector", inWords(pack.model, { prediction: vector })]] : [];
  const lines = scores.sort((one, other) => other[1] - one[1]).map(([second, score]) => [second, score.toFixed(4)]);
  return { lines: [...head, ...lines], milliseconds: spent };
}

async function answer(event) {
  event.preventDefault();
  const text = element("text").value;
  const way = element("way").value;
  let found;
  if (fields.several) found = await ranked(text, way);
  else {
    const question = { text, way, ...(pack.model.pairs ? { text_pair: element("pair").value } : {}) };
    const said = await ask(question);
    found = { lines: linesOf(pack.model, question, said), milliseconds: said.milliseconds };
  }
  element("answer").replaceChildren();
  for (const cells of found.lines) line(element("answer"), ...cells);
  element("latency").textContent = time(found.milliseconds);
}

async function answerExamples() {
  element("examples").replaceChildren();
  for (const { lang, text, text_pair, way } of pack.examples) {
    const pair = pack.model.pairs ? text_pair : null;
    const said = await ask({ text, text_pair: pair, way });
    const shown = [asText(text), pair].filter(Boolean).join(" · ");
    line(element("examples"), lang, shown, inWords(pack.model, said), time(said.milliseconds));
  }
}

function fill() {
  document.title = element("title").textContent = pack.name;
  for (const variant of pack.variants) element("variant").add(new Option(`${variant.name}, ${megabytes(variant)}`));
  for (const { name } of pack.ways) element("way").add(new Option(name || "as it is", name));
  element("device-field").hidden = !navigator.gpu;
  element("device").value = device;
  element("way-field").hidden = pack.ways.length < 2;
  for (const name of ["way", "text", "pair"]) element(`${name}-name`).textContent = fields[name];
  element("pair-field").hidden = !(pack.model.pairs || fields.several);
  const [first, ...others] = pack.examples;
  element("way").value = first.way;
  element("text").value = asText(first.text);
  element("pair").value = first.text_pair ?? (fields.several ? others.map(({ text }) => text).join("\n") : "");
}

const guarded = (work) => (event) =>
  work(event).catch((error) => {
    element("state").textContent = `This did not work: ${error.message ?? error}`;
  });

fill();
element("variant").addEventListener("change", guarded(open));
element("device").addEventListener("change", () => location.replace(`?device=${element("device").value}`));
element("form").addEventListener("submit", guarded(answer));
element("examples-button").addEventListener("click", guarded(answerExamples));
await guarded(open)();
