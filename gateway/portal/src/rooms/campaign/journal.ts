import type { Texts } from "../../i18n/zh";

/** Remarks that the service itself writes, in the reader's language; what people wrote stays as it is. */
export function remark(comment: string, t: Texts): string {
  const [what = "", again] = comment.split(/; (?=it has to be submitted again$)/);
  const words = own(what, t) ?? what;
  return again ? `${words}, ${t.campaign.journalAgain}` : words;
}

function own(text: string, t: Texts): string | undefined {
  const c = t.campaign;
  const cart = /^(\d+) settings from the cart$/.exec(text);
  if (cart) return c.journalCart(cart[1] ?? "");
  const activity = /^activity (\S+)( added| removed)?$/.exec(text);
  if (activity) {
    const said = activity[2] === " added" ? c.journalAdded : activity[2] ? c.journalRemoved : c.journalChanged;
    return said(activity[1] ?? "");
  }
  return text === "campaign" ? c.journalHead : undefined;
}
