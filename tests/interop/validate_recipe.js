// What an editor's YAML language server says of a recipe: node validate_recipe.js SCHEMA RECIPE; one problem a line.
const fs = require("fs");
const { getLanguageService } = require("yaml-language-server");
const { TextDocument } = require("vscode-languageserver-textdocument");

const [schemaFile, recipeFile] = process.argv.slice(2);
const schema = JSON.parse(fs.readFileSync(schemaFile, "utf-8"));
const service = getLanguageService({
  schemaRequestService: () => Promise.resolve(JSON.stringify(schema)),
  workspaceContext: { resolveRelativePath: (path) => path },
});
service.configure({ validate: true, schemas: [{ uri: "file:///recipe.schema.json", fileMatch: ["*.yaml"] }] });
const recipe = TextDocument.create("file:///recipe.yaml", "yaml", 0, fs.readFileSync(recipeFile, "utf-8"));
service.doValidation(recipe, false).then((problems) => {
  for (const { range, message } of problems) console.log(`${range.start.line + 1}: ${message}`);
});
