import { MapChart } from "echarts/charts";
import { TooltipComponent, VisualMapComponent } from "echarts/components";
import { init, registerMap, use } from "echarts/core";
import { SVGRenderer } from "echarts/renderers";
import { useEffect, useRef } from "react";

use([MapChart, TooltipComponent, VisualMapComponent, SVGRenderer]);

interface Props {
  option: Record<string, unknown>;
  height: number;
  map?: { name: string; shape: object };
}

export default function EChart({ option, height, map }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const chart = useRef<ReturnType<typeof init> | null>(null);
  useEffect(() => {
    if (!box.current) return;
    if (map) registerMap(map.name, map.shape as never);
    const made = init(box.current);
    chart.current = made;
    const watch = new ResizeObserver(() => made.resize());
    watch.observe(box.current);
    return () => {
      watch.disconnect();
      made.dispose();
      chart.current = null;
    };
  }, [map]);
  useEffect(() => {
    chart.current?.setOption(option, { notMerge: true });
  }, [option, map]);
  return <div ref={box} style={{ width: "100%", height }} />;
}
