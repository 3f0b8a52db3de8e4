# One image for both processes; the command says which:
#   node dist/gateway/main.js   (the default)
#   node dist/worker/main.js
# Handlers of your own: mount a folder at /app/tasks and set MILLRACE_TASKS_DIR=/app/tasks.

FROM node:24-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN --mount=type=cache,target=/root/.npm npm ci --no-audit --no-fund
COPY . .
RUN npm run build

FROM node:24-bookworm-slim AS modules
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN --mount=type=cache,target=/root/.npm npm ci --omit=dev --no-audit --no-fund

FROM node:24-bookworm-slim
ENV NODE_ENV=production HOST=0.0.0.0
WORKDIR /app
COPY --from=modules /app/node_modules node_modules
COPY package.json LICENSE ./
COPY deploy/healthcheck.mjs deploy/
COPY web web
COPY --from=build /app/dist dist
USER node
# The API, and the ops ports (health, metrics) of gateway and worker.
EXPOSE 8080 9464 9465
CMD ["node", "--enable-source-maps", "dist/gateway/main.js"]
