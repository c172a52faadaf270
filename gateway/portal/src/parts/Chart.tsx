import { Skeleton } from "antd";
import { Suspense, lazy } from "react";

// Charts weigh as much as the rest of a page: they are fetched when the first one is shown.
const Drawn = lazy(() => import("./EChart"));

export function Chart(props: { option: Record<string, unknown>; height: number; map?: { name: string; shape: object } }) {
  return (
    <Suspense fallback={<Skeleton.Node active style={{ width: "100%", height: props.height }} />}>
      <Drawn {...props} />
    </Suspense>
  );
}
