//go:build !unix

package alicreds

const withoutWaiting = 0
