/**
 * Apps run as users of their own and must get to what is put down for them, however tight the umask is of whoever runs
 * this program. To be called by those that place releases; what is secret is made with a mode of its own.
 */
export function openToApps(): void {
  process.umask(0o022);
}
