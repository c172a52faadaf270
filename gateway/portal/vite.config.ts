import react from "@vitejs/plugin-react";
import { defineConfig, loadEnv } from "vite";

// `IOP_GATEWAY=http://127.0.0.1:8080 npm run dev` works on the sources against a running gateway.
const gateway = loadEnv("", ".", "IOP_").IOP_GATEWAY ?? "http://127.0.0.1:8080";

export default defineConfig({
  plugins: [react()],
  build: {
    outDir: "dist",
    emptyOutDir: true,
    chunkSizeWarningLimit: 1200,
    // Everything is a file of its own under /assets: the page may load nothing else.
    assetsInlineLimit: 0,
  },
  server: { proxy: { "/api": gateway, "/auth": gateway } },
});
