/* lean.h -- little memory: what was needed once is given back.
 *
 *   Threads    any; ls_lean_start() before there are others. */
#ifndef LS_LEAN_H
#define LS_LEAN_H

void ls_lean_start(void);
void ls_lean_rest(void); /* after a start or a burst; a millisecond or two */

#endif
