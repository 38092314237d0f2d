import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import t from 'tap';

/** The rules of the house that a compiler does not know: who imports whom, no cycles, no barrels, sizes. */

const ROOT = resolve(import.meta.dirname, '..');
const FOLDERS = ['core', 'adapters', 'gateway'];
const FILE_LINES_MAX = 500;
/** I/O is the business of adapters and the gateway. */
const CORE_FORBIDDEN = /^node:(net|tls|http|https|http2|fs|dgram|child_process|worker_threads)(\/|$)/;
/** What protocol adapters share: theirs alone. */
const SHARED = 'adapters/connection';
const GENERATED = 'adapters/grpc/proto/generated/';

interface SourceFile {
  readonly path: string;
  readonly text: string;
  /** Repository paths for relative imports, module names for others. */
  readonly imports: readonly string[];
}

function sourceFiles(folder: string): SourceFile[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .map((name) => join(folder, name))
    .filter((path) => path.endsWith('.ts') && !path.startsWith(GENERATED))
    .map((path) => {
      const text = readFileSync(join(ROOT, path), 'utf8');
      return { path, text, imports: importsOf(path, text) };
    });
}

function importsOf(path: string, text: string): string[] {
  const specifiers = [...text.matchAll(/(?:^|\n)\s*(?:import|export)\b[^;'"]*?\bfrom\s*['"]([^'"]+)['"]/g)];
  specifiers.push(
    ...text.matchAll(/\bimport\s*\(\s*['"]([^'"]+)['"]/g),
    ...text.matchAll(/\nimport\s+['"]([^'"]+)['"]/g),
  );
  return specifiers.map(([, specifier]) =>
    specifier!.startsWith('.') ? relative(ROOT, resolve(ROOT, dirname(path), specifier!)) : specifier!,
  );
}

/** The folder an adapter's files share: adapters/mqtt, adapters/storage/embedded, ... */
function adapterOf(path: string): string {
  const parts = path.split('/');
  return parts.slice(0, parts[1] === 'storage' || parts[1] === 'amqp' ? 3 : 2).join('/');
}

function isProtocolAdapter(path: string): boolean {
  return path.startsWith('adapters/') && !path.startsWith('adapters/storage/');
}

/** Why the import is not allowed; undefined when it is. */
function violation(path: string, imported: string): string | undefined {
  const isLocal = FOLDERS.some((folder) => imported.startsWith(`${folder}/`));
  const within = (folder: string): boolean => imported.startsWith(`${folder}/`);
  if (imported.startsWith('test/')) return 'the product does not import tests';
  if (path.startsWith('core/')) {
    if (CORE_FORBIDDEN.test(imported)) return 'the core does no I/O';
    if (!isLocal) return imported.startsWith('node:') ? undefined : 'the core uses no library';
    if (path.startsWith('core/model/') && !within('core/model')) return 'core/model imports nothing else';
    if (path.startsWith('core/ports/') && !within('core/model') && !within('core/ports'))
      return 'core/ports sees the model';
    return within('core') ? undefined : 'the core sees only the core';
  }
  if (within(SHARED) && !isProtocolAdapter(path)) return `${SHARED} is for protocol adapters`;
  if (!path.startsWith('adapters/') || !isLocal) {
    const codec = /^adapters\/.*\/codec\//.test(path);
    return codec && !isLocal && !imported.startsWith('node:') ? 'a codec uses no library' : undefined;
  }
  const codec = /^(adapters\/.*\/codec)\//.exec(path);
  if (codec !== null) return within(codec[1]!) ? undefined : 'a codec sees only itself';
  if ([adapterOf(path), 'core/model', 'core/ports'].some(within)) return undefined;
  if (path.startsWith(`${SHARED}/`)) return `${SHARED} sees itself, core/model and core/ports`;
  const allowed = within(SHARED) || imported === 'core/broker.ts';
  return allowed ? undefined : `an adapter sees its own folder, ${SHARED}, core/model, core/ports and core/broker.ts`;
}

function violations(files: readonly SourceFile[]): string[] {
  return files.flatMap(({ path, imports }) =>
    imports.flatMap((imported) => {
      const why = violation(path, imported);
      return why === undefined ? [] : [`${path} imports ${imported}: ${why}`];
    }),
  );
}

function cycles(files: readonly SourceFile[]): string[] {
  const graph = new Map(files.map(({ path, text }) => [path, importsOf(path, withoutTypeImports(text))]));
  const done = new Set<string>();
  const found: string[] = [];
  const visit = (path: string, trail: readonly string[]): void => {
    if (trail.includes(path)) found.push([...trail.slice(trail.indexOf(path)), path].join(' -> '));
    if (done.has(path) || trail.includes(path)) return;
    for (const imported of graph.get(path) ?? []) visit(imported, [...trail, path]);
    done.add(path);
  };
  for (const path of graph.keys()) visit(path, []);
  return found;
}

/** Types are gone at run time: two files may know each other's types. */
function withoutTypeImports(text: string): string {
  return text.replaceAll(/(?:import|export)\s+type\s[^;]*;/g, '');
}

function isBarrel({ text }: SourceFile): boolean {
  const code = text.replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*/g, '').trim();
  return (
    code.length > 0 && code.split(';').every((part) => part.trim() === '' || /^export\b[^=]*\bfrom\b/.test(part.trim()))
  );
}

const files = FOLDERS.flatMap(sourceFiles);

t.test('every import follows the table of ARCHITECTURE.md', async (t) => {
  t.ok(files.length > 50, 'the sources were found');
  t.same(violations(files), []);
});

t.test('planted violations are found', async (t) => {
  const planted = (path: string, text: string): SourceFile => ({ path, text, imports: importsOf(path, text) });
  const bad = [
    planted('core/model/a.ts', "import { x } from '../ports/clock.ts';"),
    planted('core/broker2.ts', "import { connect } from 'node:net';"),
    planted('core/messaging/a.ts', "import { z } from 'zod';"),
    planted('core/messaging/b.ts', "import {\n  x,\n} from '../../adapters/mqtt/turn.ts';"),
    planted('adapters/mqtt/a.ts', "export { x } from '../grpc/status.ts';"),
    planted('adapters/mqtt/b.ts', "import { x } from '../../gateway/compose.ts';"),
    planted('adapters/grpc/c.ts', "import type { X } from '../../core/messaging/topics.ts';"),
    planted('adapters/mqtt/codec/a.ts', "import { x } from '../../../core/model/limits.ts';"),
    planted('adapters/storage/embedded/a.ts', "const x = await import('../jetstream/engine.ts');"),
    planted('adapters/storage/embedded/b.ts', "import { x } from '../../connection/turn.ts';"),
    planted('adapters/connection/a.ts', "import { x } from '../mqtt/inbound.ts';"),
    planted('adapters/connection/b.ts', "import type { Broker } from '../../core/broker.ts';"),
    planted('gateway/b.ts', "import type { X } from '../adapters/connection/transport.ts';"),
    planted('gateway/a.ts', "import { x } from '../test/helpers/random.ts';"),
  ];
  t.equal(violations(bad).length, bad.length, violations(bad).join('\n'));
  t.same(violations([planted('adapters/amqp/v1/a.ts', "import { x } from '../../connection/turn.ts';")]), []);
  const a = planted('core/a.ts', "import { b } from './b.ts';");
  const b = planted('core/b.ts', "import { a } from './a.ts';");
  t.equal(cycles([a, b]).length, 1);
  t.ok(isBarrel(planted('core/index.ts', "export { a } from './a.ts';\nexport * from './b.ts';")));
});

t.test('no cycles, default exports, barrels or files that are too long', async (t) => {
  t.same(cycles(files), []);
  t.same(
    files.filter(({ text }) => /^export default\b/m.test(text)).map(({ path }) => path),
    [],
  );
  t.same(
    files.filter(isBarrel).map(({ path }) => path),
    [],
  );
  t.same(
    files.filter(({ text }) => text.split('\n').length > FILE_LINES_MAX).map(({ path }) => path),
    [],
  );
});
