import fs from "node:fs";
import path from "node:path";

const LINE_BYTES = 256;

/**
 * Why a program did not start, where the kernel's word for it misleads (a script whose interpreter is not there is "not
 * found" itself) or leaves out where it was looked for. undefined: there is nothing to add.
 * @param dir the release's folder
 * @param searched the instance's PATH
 */
export function unstartable(dir: string, program: string, searched: string): string | undefined {
  if (!program.includes("/")) {
    const isThere = searched.split(":").some((folder) => fs.existsSync(path.join(folder, program)));
    return isThere ? undefined : `${program} is in no folder of its PATH, ${searched}`;
  }
  const head = headOf(path.resolve(dir, program));
  if (head === undefined) return undefined;
  if ((head.mode & 0o111) === 0) return `${program} is not executable (chmod +x, and commit that)`;
  const interpreter = /^#![ \t]*([^ \t\n]+)/.exec(head.text)?.[1];
  if (interpreter === undefined) return undefined;
  if (interpreter.endsWith("\r")) return `${program} has Windows line ends (CR LF)`;
  return fs.existsSync(interpreter) ? undefined : `${program} asks for ${interpreter}, which is not there`;
}

function headOf(file: string): { readonly mode: number; readonly text: string } | undefined {
  try {
    const fd = fs.openSync(file, "r");
    try {
      const bytes = Buffer.alloc(LINE_BYTES);
      const length = fs.readSync(fd, bytes, 0, LINE_BYTES, 0);
      return { mode: fs.fstatSync(fd).mode, text: bytes.toString("latin1", 0, length) };
    } finally {
      fs.closeSync(fd);
    }
  } catch {
    return undefined; // it is not there, or is a folder: that the shell says well
  }
}
