// Starts `sinter lsp` for .sinter files.
const { workspace } = require("vscode");
const { LanguageClient } = require("vscode-languageclient/node");
let client;
exports.activate = () => {
  const command = workspace.getConfiguration("sinter").get("path");
  client = new LanguageClient("sinter", "Sinter", { command, args: ["lsp"] }, {
    documentSelector: [{ language: "sinter" }],
    synchronize: { fileEvents: workspace.createFileSystemWatcher("**/*.sinter") },
  });
  return client.start();
};
exports.deactivate = () => client && client.stop();
