// As much of Node as this package names, so that it needs no types of Node's.
declare module 'node:fs' {
  export function existsSync (path: string): boolean
  export function readFileSync (path: string): Uint8Array<ArrayBuffer>
}
declare module 'node:module' {
  export function createRequire (from: string): { (name: string): any, resolve: (name: string) => string }
}
declare module 'node:path' {
  export function join (...parts: string[]): string
}
declare module 'node:url' {
  export function pathToFileURL (path: string): URL
}
declare const process: {
  arch: string
  platform: string
  env: Record<string, string | undefined>
  versions: Record<string, string | undefined>
  report?: { getReport: () => any }
  cwd: () => string
  emitWarning: (warning: string, options: { code: string }) => void
}
declare const __dirname: string
