package e2e

import "strings"

// A pageBlock is a fenced block of a page.
type pageBlock struct {
	language string // first word behind the fence
	mark     string // what follows
	text     string
}

// pageBlocks are the fenced blocks of a page, in their order.
func pageBlocks(page string) []pageBlock {
	var blocks []pageBlock
	var open *pageBlock
	for line := range strings.Lines(page) {
		fence, isFence := strings.CutPrefix(strings.TrimRight(line, "\n"), "```")
		switch {
		case open == nil && isFence:
			language, mark, _ := strings.Cut(strings.TrimSpace(fence), " ")
			open = &pageBlock{language: language, mark: strings.TrimSpace(mark)}
		case open != nil && isFence && fence == "":
			blocks = append(blocks, *open)
			open = nil
		case open != nil:
			open.text += line
		}
	}
	return blocks
}
