// Opens a session file with pi's own SessionManager, appends to it if asked to, and prints what it sees.
//
//   node pi.mjs PACKAGE FILE [TEXT]

import { pathToFileURL } from "node:url";
import { join } from "node:path";

const [root, file, text] = process.argv.slice(2);
const found = await import(pathToFileURL(join(root, "dist/core/session-manager.js")));
const session = found.SessionManager.open(file);
if (text !== undefined) {
    session.appendMessage({ role: "user", content: text, timestamp: Date.now() });
    session.appendCustomEntry("interop", { by: "pi" });
}
process.stdout.write(
    JSON.stringify({
        header: session.getHeader(),
        entries: session.getEntries(),
        leaf: session.getLeafId(),
        messages: session.buildSessionContext().messages,
    }),
);
