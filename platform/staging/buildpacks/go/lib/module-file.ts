/** go.mod and go.work as far as a build needs them (Go Modules Reference, "go.mod files" and "go.work files"). */
export interface ModuleFile {
  /** For messages: `go.mod`. */
  name: string;
  /** Of the `go` line: the least version. */
  go: string | undefined;
  /** Of the `toolchain` line, without `go`. */
  toolchain: string | undefined;
}

export function parseModuleFile(name: string, text: string): ModuleFile {
  const line = (pattern: string) => new RegExp(`^[ \\t]*${pattern}[ \\t]*(?://.*)?\\r?$`, 'm').exec(text)?.[1];
  return {
    name,
    go: line('go[ \\t]+(\\d+(?:\\.\\d+)*(?:(?:rc|beta)\\d+)?)'),
    toolchain: line('toolchain[ \\t]+go(\\d+(?:\\.\\d+)*(?:(?:rc|beta)\\d+)?)'),
  };
}
