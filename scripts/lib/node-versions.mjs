/** One version of each supported major version: docs/support.md, node-versions-check.mjs. */
export const nodeVersions = [
  '20.20.2',
  '21.7.3',
  '22.23.3',
  '23.11.1',
  '24.21.0',
  '25.9.0',
  '26.10.0',
];
