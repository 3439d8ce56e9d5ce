/**
 * Named places where a test can end the process, as `kill -9` or a power cut would.
 * `SKEIN_FAULT=name` kills at the first passage, `name:3` at the third; unset, a fault point is one comparison.
 */
const wanted = process.env["SKEIN_FAULT"];
const [wantedName, wantedPassage] = wanted === undefined ? [] : split(wanted);
let passages = 0;

function split(text: string): [string, number] {
  const [name = "", passage = "1"] = text.split(":");
  return [name, Number(passage)];
}

export function faultPoint(name: string): void {
  if (wantedName === undefined || name !== wantedName) return;
  passages += 1;
  if (passages === wantedPassage) process.kill(process.pid, "SIGKILL");
}
