import type { ThemeConfig } from "antd";

/** Calm and dense: one blue, grey grounds, small radii, figures of one width. */
export const THEME: ThemeConfig = {
  token: {
    colorPrimary: "#1d5fbf",
    colorSuccess: "#1f9d6b",
    colorWarning: "#d08a1e",
    colorError: "#cf3a2f",
    colorInfo: "#1d5fbf",
    colorBgLayout: "#f3f5f8",
    colorTextBase: "#1b2430",
    colorBorderSecondary: "#e6eaf0",
    borderRadius: 5,
    fontSize: 13,
    controlHeight: 30,
    fontFamily:
      'system-ui, -apple-system, "Segoe UI", "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", "Noto Sans SC", sans-serif',
  },
  components: {
    Layout: { siderBg: "#ffffff", headerBg: "#ffffff", headerHeight: 48, headerPadding: "0 16px" },
    Menu: {
      itemHeight: 31,
      itemMarginBlock: 2,
      subMenuItemBg: "#ffffff",
      itemSelectedBg: "#e8f0fb",
      activeBarBorderWidth: 0,
      itemMarginInline: 8,
    },
    Table: { headerBg: "#f7f9fb", cellPaddingBlockSM: 7, headerColor: "#5b6778", headerSplitColor: "transparent" },
    Descriptions: { itemPaddingBottom: 8 },
  },
};
