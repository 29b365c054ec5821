// Runs interpret.py under the CPython of the npm package pyodide, which is newer than
// the python3 of most systems.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { loadPyodide } from "pyodide";

const pyodide = await loadPyodide();
pyodide.runPython(readFileSync(new URL("interpret.py", import.meta.url), "utf8").replace("__main__", "__never__"));
const logOf = pyodide.globals.get("log_of");
for await (const line of createInterface({ input: process.stdin })) process.stdout.write(logOf(line));
