// Run by Node.js when the folder is packed: the tokens of each text as the page makes them.
// Standard input: {"prefix": "", "texts": [...], "maxLength": 64}; standard output: one list of token numbers a text.
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
const { encode, openTokenizer } = await import(new URL(node.argv[2], "file://"));
const { prefix, texts, maxLength } = JSON.parse(readFileSync(0, "utf8"));
const tokenizer = await openTokenizer();
node.stdout.write(JSON.stringify(texts.map((text) => encode(tokenizer, prefix, text, maxLength).input_ids)));
