/** As `Promise.all`, but a failure is told only when nothing of the rest goes on any more. */
export async function allEnded<T extends readonly unknown[] | []>(
  work: T,
): Promise<{ -readonly [P in keyof T]: Awaited<T[P]> }> {
  await Promise.allSettled(work);
  return await Promise.all(work);
}
