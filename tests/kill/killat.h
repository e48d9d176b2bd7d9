/* killat.h -- the marks between which tests/kill/killat.c counts; absent (NULL) without it. */
#ifndef LS_KILLAT_H
#define LS_KILLAT_H

void killat_arm(void) __attribute__((weak, visibility("default")));
void killat_disarm(void) __attribute__((weak, visibility("default")));

#endif
