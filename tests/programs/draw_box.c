/* A workload of a user's own: a box of 50 x 40 pixels through a mapping of the frame buffer. Built static, it runs in the guest as /exec. */
#include <fcntl.h>
#include <linux/fb.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

int main(void)
{
	const char *path = getenv("FRAMEBUFFER"), *seed = getenv("WORKLOAD_SEED"), *scale = getenv("WORKLOAD_SCALE_PERCENT");
	struct fb_fix_screeninfo fix;
	struct fb_var_screeninfo var;
	char *screen;
	unsigned x, y;
	int fd;

	if (!path || !seed || !scale) {
		fprintf(stderr, "the environment lacks FRAMEBUFFER, WORKLOAD_SEED or WORKLOAD_SCALE_PERCENT\n");
		return 2;
	}
	fd = open(path, O_RDWR);
	if (fd < 0 || ioctl(fd, FBIOGET_FSCREENINFO, &fix) || ioctl(fd, FBIOGET_VSCREENINFO, &var)) {
		perror(path);
		return 3;
	}
	screen = mmap(NULL, fix.smem_len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (screen == MAP_FAILED) {
		perror("mmap");
		return 4;
	}
	for (y = 100; y < 140; y++)
		for (x = 200; x < 250; x++)
			*(uint32_t *)(screen + y * fix.line_length + x * 4) = 0x123456 + atoi(seed);
	printf("drew 50 x 40 pixels on %u x %u\n", var.xres, var.yres);
	return 0;
}
