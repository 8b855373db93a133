/* Resolves k6's modules to ours in scripts. */

const modules = { k6: './k6-module.mjs', 'k6/http': './http-module.mjs' };

export async function resolve(specifier, context, next) {
  const file = modules[specifier];
  if (file) return { url: new URL(file, import.meta.url).href, shortCircuit: true };
  const resolved = await next(specifier, context);
  return resolved.url.includes('/load/') && resolved.url.endsWith('.js')
    ? { ...resolved, format: 'module' }
    : resolved;
}
