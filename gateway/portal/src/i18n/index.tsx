import { type ReactNode, createContext, useContext, useEffect, useMemo, useState } from "react";
import { en } from "./en";
import { type Texts, zh } from "./zh";

export type Language = "zh" | "en";

interface Speech {
  language: Language;
  texts: Texts;
  setLanguage: (language: Language) => void;
}

const STORED = "iop.language";
const SpeechContext = createContext<Speech>({ language: "zh", texts: zh, setLanguage: () => undefined });

/** Chinese unless the person chose English on this machine. */
export function LanguageProvider({ children }: { children: ReactNode }) {
  const [language, setLanguage] = useState<Language>(() =>
    localStorage.getItem(STORED) === "en" ? "en" : "zh",
  );
  useEffect(() => {
    localStorage.setItem(STORED, language);
    document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
    document.title = language === "zh" ? "IOP 集中运营平台" : "IOP Centralised Operations Platform";
  }, [language]);
  const speech = useMemo(
    () => ({ language, texts: language === "zh" ? zh : en, setLanguage }),
    [language],
  );
  return <SpeechContext.Provider value={speech}>{children}</SpeechContext.Provider>;
}

export const useLanguage = (): Speech => useContext(SpeechContext);
export const useTexts = (): Texts => useContext(SpeechContext).texts;

/** The word for a code; a code that nobody named is shown readably: `late_receipt` -> `late receipt`. */
export function word(words: Record<string, string>, code: string | undefined): string {
  if (!code) return "–";
  return words[code] ?? code.replaceAll("_", " ");
}

/** A name in the chosen language where data carry both. */
export function named(language: Language, chinese: string, english: string): string {
  return (language === "en" ? english || chinese : chinese || english) || "–";
}
