#!/bin/sh
# try.sh <directory of tarballs>: installs them into an empty project and asks for one response. Needs
# node and npm.
set -eu

tarballs=$(cd "$1" && pwd)
project=$(mktemp -d)
cd "$project"
echo '{"private":true}' >package.json
cat >app.lua <<'LUA'
function handle(req, res) res:body('it works\n'):send() end
LUA
# Those for other systems are refused, so only the one for this system is named.
suffix=$(node -p "
  const { glibcVersionRuntime } = process.report.getReport().header;
  const libc = process.platform === 'linux' ? (glibcVersionRuntime ? '-gnu' : '-musl') : '';
  process.platform + '-' + process.arch + libc")
npm install --no-audit --no-fund "$tarballs"/moonring-[0-9]*.tgz "$tarballs"/moonring-"$suffix"-*.tgz
npx moonring --version
npx moonring --port 18080 --admin off app.lua &
server=$!
trap 'kill $server' EXIT
node -e "
  const deadline = Date.now() + 30000;
  const ask = () => fetch('http://127.0.0.1:18080/').then((response) => response.text()).then(
    (text) => process.exit(text === 'it works\n' ? 0 : 1),
    (error) => (Date.now() > deadline ? (console.error(error), process.exit(1)) : setTimeout(ask, 100)));
  ask()"
