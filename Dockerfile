# The image of the server. docs/containers.md describes its use; scripts/container-check.mjs runs
# these same steps without a container engine, so keep to FROM, RUN, COPY, ENV, WORKDIR, USER,
# EXPOSE, STOPSIGNAL, HEALTHCHECK and ENTRYPOINT.

FROM node:24-trixie-slim AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends \
      cmake g++ gcc libbrotli-dev libc6-dev libdeflate-dev libllhttp-dev libluajit-5.1-dev \
      libpcre2-dev libssl-dev ninja-build pkg-config zlib1g-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY package.json package-lock.json .npmrc ./
RUN npm ci --no-audit --no-fund --no-progress
COPY CMakeLists.txt CMakePresets.json tsconfig.json ./
COPY cmake ./cmake
COPY native ./native
RUN cmake --preset release -DMOONRING_BUILD_TESTS=OFF -DMOONRING_WERROR=OFF \
 && cmake --build build/release --target moonring \
 && strip --strip-debug build/release/moonring.node
COPY src ./src
RUN npm run build:ts
# Only needed for the build.
RUN npm prune --omit=dev --no-audit --no-fund \
 && rm -rf dist/.tsbuildinfo \
 && find node_modules -type d -empty -delete

FROM node:24-trixie-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends libjemalloc2 libluajit-5.1-2 lua-cjson \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY package.json LICENSE ./
COPY lua ./lua
COPY web ./web
COPY examples ./examples
COPY --from=build /src/node_modules ./node_modules
COPY --from=build /src/dist ./dist
COPY --from=build /src/build/release/moonring.node ./build/release/moonring.node
# llhttp is part of the addon, so its licence must be included.
COPY --from=build /usr/share/doc/libllhttp-dev/copyright ./LICENSE.llhttp
ENV NODE_ENV=production MOONRING_HOST=0.0.0.0
USER node
EXPOSE 8080
STOPSIGNAL SIGTERM
# /readyz of the admin listener, which stays on loopback unless MOONRING_ADMIN is set.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
  CMD ["node", "dist/master.js", "health"]
ENTRYPOINT ["node", "dist/master.js"]
