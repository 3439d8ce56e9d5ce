import http from "node:http";
import { PATIENCE_MS } from "../../src/lib/testing/patience.fixture.ts";
import { eventually } from "../../src/lib/testing/eventually.fixture.ts";

export interface Answer {
  readonly status: number;
  readonly text: string;
}

/** One request on a connection of its own. */
export async function get(url: string, signal?: AbortSignal): Promise<Answer> {
  return await new Promise((resolve, reject) => {
    const request = http.get(url, {
      agent: false,
      timeout: PATIENCE_MS,
      ...(signal === undefined ? {} : { signal }),
    });
    request.once("timeout", () => request.destroy(new Error(`${url}: no answer`)));
    request.once("error", reject);
    request.once("response", (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (part: string) => (text += part));
      response.once("error", reject);
      response.once("end", () => resolve({ status: response.statusCode ?? 0, text }));
    });
  });
}

/** Resolves as soon as `url` answers 200 with exactly `text`, asking every 5 ms. */
export async function firstAnswer(url: string, text: string, signal?: AbortSignal): Promise<void> {
  const probe = async (): Promise<boolean> => {
    const answer = await get(url, signal);
    return answer.status === 200 && answer.text === text;
  };
  await eventually(`${url} answers ${JSON.stringify(text)}`, probe, {
    everyMs: 5,
    ...(signal === undefined ? {} : { signal }),
  });
}
