// Run by Node.js when the folder is packed: the examples that the page makes of questions, and the texts of written tokens.
// Standard input: {"pack": …, "questions": […], "written": […]}; standard output: {"read": […], "texts": […]}.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const node = globalThis.process;
delete globalThis.process; // the library takes this for a browser, which it is packed for
globalThis.fetch = async (address) => {
  try {
    return new Response(readFileSync(fileURLToPath(new URL(address, "file://"))));
  } catch {
    return new Response("", { status: 404 });
  }
};
const page = new URL(node.argv[2], "file://");
const { openTokenizer } = await import(new URL("model.js", page));
const { asRead, examplesOf, textOf } = await import(new URL("tokens.js", page));
const { pack, questions, written } = JSON.parse(readFileSync(0, "utf8"));
const tokenizer = await openTokenizer();

/** An example with places in its context as Python counts them: by characters. */
function asInPython(example, context) {
  if (!example.starts) return example;
  const places = new Map([[-1, -1]]);
  let units = 0;
  let characters = 0;
  for (const character of context) {
    places.set(units, characters);
    units += character.length;
    characters += 1;
  }
  places.set(units, characters);
  const counted = (side) => example[side].map((place) => places.get(place));
  return { ...example, starts: counted("starts"), ends: counted("ends") };
}

const read = questions.map((question) => {
  try {
    const examples = examplesOf(tokenizer, pack, question);
    return { examples: examples.map((example) => asInPython(example, asRead(question.text_pair ?? ""))) };
  } catch (error) {
    return { error: String(error.message ?? error) };
  }
});
const texts = written.map((tokens) => textOf(tokenizer, tokens));
node.stdout.write(JSON.stringify({ read, texts }));
