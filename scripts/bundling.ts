/** What makes a bundled program start sooner. */
import type { Plugin } from "esbuild";

/**
 * `import` of one of Node's modules evaluates all that it exports, lazily loaded parts (undici in node:http) included:
 * a third of what a command costs to start. getBuiltinModule evaluates what is used. Each export is named by itself, so
 * that the bundler keeps those that are used and need not copy the module.
 */
export const lazyBuiltins: Plugin = {
  name: "lazy-builtins",
  setup(esbuild) {
    // What is imported when it is needed is left to Node: esbuild would give such an import no names.
    esbuild.onResolve({ filter: /^node:/ }, ({ path: id, kind }) =>
      kind === "dynamic-import" ? { path: id, external: true } : { path: id, namespace: "builtin" },
    );
    esbuild.onLoad({ filter: /./, namespace: "builtin" }, ({ path: id }) => ({ contents: namedExports(id) }));
  },
};

function namedExports(id: string): string {
  const names = Object.keys(process.getBuiltinModule(id) ?? {}).filter((name) =>
    /^[A-Za-z_$][\w$]*$/.test(name),
  );
  const exported = names.filter((name) => name !== "default");
  return [
    `const builtin = process.getBuiltinModule(${JSON.stringify(id)});`,
    "export default builtin;",
    ...exported.map((name) => `const _${name} = /* @__PURE__ */ (() => builtin.${name})();`),
    `export { ${exported.map((name) => `_${name} as ${name}`).join(", ")} };`,
  ].join("\n");
}

/** zod exports all its languages by name; messages are English, which it takes by itself. */
export const noLocales: Plugin = {
  name: "no-locales",
  setup(esbuild) {
    esbuild.onLoad({ filter: /[\\/]zod[\\/]v4[\\/]locales[\\/]index\.js$/ }, () => ({
      contents: "export {};",
    }));
  },
};
