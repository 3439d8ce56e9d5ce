/** Values by name, each made when it is first read and then kept. */
export function lazily<T extends Readonly<Record<string, () => unknown>>>(
  makers: T,
): { readonly [Name in keyof T]: ReturnType<T[Name]> } {
  const values = {};
  for (const [name, make] of Object.entries(makers)) {
    Object.defineProperty(values, name, {
      configurable: true,
      enumerable: true,
      get: () => {
        const value = make();
        Object.defineProperty(values, name, { value, enumerable: true });
        return value;
      },
    });
  }
  return values as { readonly [Name in keyof T]: ReturnType<T[Name]> };
}
