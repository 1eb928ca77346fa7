package rootfs

import "strconv"

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// quote shows a name of foreign origin in an error: escaped, and cut when long.
func quote(s string) string {
	const most = 120
	if len(s) > most {
		s = s[:most/2] + "…" + s[len(s)-most/2:]
	}
	return strconv.Quote(s)
}
