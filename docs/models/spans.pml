/* Spans, merged free runs and units of live, sleeping owners: who may open, grow, trim, retire, take, sweep and
 * give back pages (README.md, "The rules that spans.pml checks"). NPG pages in NU units, NT threads with one heap
 * each; with -DTWO threads 0 and 1 are one process. All together do any OPS operations, from five states of thread
 * 0's pages (-DEMPTY: all free); any process may die at any step, and leaves everything when it ends. A span
 * holds one block. To sleep is not to be run.
 * One step = one store, load or CAS that others can see, with the private work around it.
 * -DINV checks the invariants of the words in every state; without it only real harm is reported (a page of a
 * live block free or in other hands, a block over another one, a page opened that the root owns, a page or unit
 * lost or stale after the last sweep). -DM_x is a seeded mistake; they run without INV, so each does real harm.
 * -DSEE_x asks whether a situation occurs at all (reported as an assertion, expected "fail"). */
#ifndef NPG
#define NPG 3
#endif
#ifndef OPS
#define OPS 3
#endif
#ifndef KILLS
#define KILLS 1
#endif
#ifdef TWO
#define NT 3
#define PR(t) ((t) < 2 -> 0 : (t) - 1)
#define NPR 2
#else
#ifndef NT
#define NT 2
#endif
#define PR(t) (t)
#define NPR NT               /* processes; the auditor is process NPR, its heap NT */
#endif
#ifdef ONE_UNIT
#define NU 1
#define U(i) 0
#define UM(u) ((1 << NPG) - 1)
#else                        /* pages 0 and 1, and the rest */
#define NU 2
#define U(i) ((i) / 2)
#define UM(u) ((u) == 0 -> 3 : ((1 << NPG) - 1) & ~3)
#endif
#define FREE 0
#define USER 1
#define FLIGHT 2             /* inside one call of thread by[h] - 1 */
#define Q PR(p)
#define ME (p + 2)
#define TH(o) ((o) - 2)      /* thread of an owner word */
#define IN(m, i) (((m) >> (i)) & 1)
#define MASK(h, n) (((1 << (n)) - 1) << (h))
#if NU > 1
#define MYU ((head[0] == Q + 1 -> UM(0) : 0) | (head[1] == Q + 1 -> UM(1) : 0))
#else
#define MYU (head[0] == Q + 1 -> UM(0) : 0)
#endif

byte owner[NPG + 2];         /* 0 free, 1 interior of a span, else heap: thread + 2; two never used pages end the region */
byte span[NPG] = 1;          /* pages of the span that starts here; 1 in a free page */
bit used[NPG];               /* of the span's one block: not in local_ (used_) */
bit posted[NPG];             /* and on the remote list, not drained (pushed - drained_); page.pml has these words in steps */
byte ops;                    /* operations begun, all threads together */
byte head[NU];               /* head word of the unit: process + 1, 0 = the root's   [lock:root] */
byte hl[NT + 1];             /* lock of a heap: 0 or thread + 1 */
byte mtx;                    /* root mutex: 0 or thread + 1 */
byte listed[NPR + 1];        /* private to the process: pages on its free lists, hints only */
byte hand[NPR + 1];          /* private to the process: pages that one of its threads has in hand */
bool dead[NPR + 1], gone[NPR + 1];
byte left[NPR + 1];          /* threads that run */
byte fin;
#ifdef SEE_CROSS
bool taken;                  /* ghost */
#endif
#ifdef RACE
byte got;                    /* ghost */
#endif
byte st[NPG], by[NPG];       /* ghost: the block that starts in the page */
byte cover[NPG];             /* ghost: 1 + first page of the live block that covers the page */

#define LIVE(i) (cover[i] == 0 || (owner[cover[i] - 1] >= 2 && i >= cover[i] - 1 && i < cover[i] - 1 + span[cover[i] - 1] \
                 && (i == cover[i] - 1 || owner[i] == 1)))
#define W1(i) (owner[i] != 0 || (span[i] == 1 && !used[i] && !posted[i]))
#define W2(i) (owner[i] == 0 || head[U(i)] != 0)
#define AT(i) (owner[i] == 1)
#define W3(i) (owner[i] < 2 || (span[i] >= 1 && i + span[i] <= NPG && (span[i] < 2 || AT(i + 1)) && (span[i] < 3 || AT(i + 2)) \
               && !(AT(i + span[i]) && AT(i + span[i] + 1))))
#define W4(i) (owner[i] != 1 || (i > 0 && owner[(i > 0 -> i - 1 : 0)] != 0))

#define GONE (gone[0] | (gone[1] << 1) | (gone[NPR - 1] << (NPR - 1)))
inline LockRoot() { d_step { (mtx == 0 || dead[PR(mtx - 1)]) -> mtx = p + 1 } }
inline LockOwn() {           /* a dead holder was a taker and left nothing to repair */
  d_step { (hl[p] == 0 || dead[PR(hl[p] - 1)]) -> hl[p] = p + 1 }
}
inline CheckMine(h) {        /* who writes a span's words owns it, or sweeps for the dead under the root mutex */
#ifdef INV
  assert(owner[h] == ME || (ds != 0 && mtx == p + 1 && owner[h] >= 2 && IN(ds, PR(TH(owner[h])))))
#else
  skip
#endif
}
inline CheckMay(i) {         /* who opens page i may */
  assert(head[U(i)] != 0)
#ifdef INV
  ; assert(head[U(i)] == Q + 1 || mtx == p + 1)
#endif
}
inline Cover(h, n) {         /* ghost: the block is handed out */
  j = 0;
  do :: j < n -> assert(cover[h + j] == 0 && owner[h + j] == (j == 0 -> ME : 1)); cover[h + j] = h + 1; j++ :: else -> break od;
  j = 0
}
inline Uncover(h) {
  j = 0; do :: j < NPG -> if :: cover[j] == h + 1 -> cover[j] = 0 :: else fi; j++ :: else -> break od; j = 0;
  st[h] = FREE; by[h] = 0
}
#ifdef M_OWNER_FIRST         /* the page is free while span_ still covers it */
#define CUT(to) d_step { span[h] > to -> CheckMine(h); owner[h + span[h] - 1] = 0 }; d_step { span[h] = span[h] - 1 }
#else
#define CUT(to) d_step { span[h] > to -> CheckMine(h); span[h] = span[h] - 1 }; d_step { CheckMine(h); owner[h + span[h]] = 0 }
#endif
inline Drop(h) {             /* an empty span to nothing, from the tail; its words are empty before owner_ = 0 */
#ifdef M_HEAD_FIRST          /* the head first, then its interiors */
  d_step { k = span[h]; span[h] = 1 }; owner[h] = 0;
  do :: d_step { k > 1 -> k--; owner[h + k] = 0 } :: d_step { k <= 1 -> k = 0 }; break od; skip
#else
#ifdef M_SPAN_STALE          /* the pages are free, the head's span_ stays */
  k = span[h];
  do :: d_step { k > 1 -> k--; owner[h + k] = 0 } :: d_step { k <= 1 -> k = 0; owner[h] = 0 }; break od; skip
#else
  do :: CUT(1) :: d_step { span[h] <= 1 -> CheckMine(h); owner[h] = 0 }; break od
#endif
#endif
}
inline Hand(m) {             /* process lock: pages of my process's units that no other thread has in hand */
  d_step { my = m & MYU & ~hand[Q]; hand[Q] = hand[Q] | my; listed[Q] = listed[Q] & ~my }
}
inline Out(m) {              /* process lock: of the pages I have in hand, m go to the free lists, the others are out */
  listed[Q] = listed[Q] | (my & (m)); hand[Q] = hand[Q] & ~my; my = 0
}
inline Retire(h) {           /* my heap's lock held, owner_ == mine and used_ == 0 seen under it; the caller lists or drops `my` */
#ifndef M_RETIRE_OUT         /* frees first and lists then, without the pages in hand */
  Hand(MASK(h, span[h]));
#else
  d_step { my = MASK(h, span[h]) & MYU };
#endif
  Drop(h)
}
inline Open(h, n) {          /* a run of n pages, each by CAS; ok = all open, else nothing is, and f = the page that was lost */
  if
#ifdef M_OPEN_BY_STORE
  :: owner[h] == 0 -> d_step { assert(head[U(h)] != 0); owner[h] = ME; span[h] = 1; ok = 1 };
#else
  :: d_step { owner[h] == 0 -> CheckMay(h); owner[h] = ME; ok = 1 };
#ifdef M_SPAN_STALE
     span[h] = 1;            /* else it is 1: a free page's words are empty */
#endif
#endif
#ifdef M_RELEASE_ROOT        /* the root mutex only for the head */
     if :: mtx == p + 1 -> mtx = 0 :: else fi;
#endif
     do
#ifdef M_SPAN_FIRST
     :: d_step { span[h] < n -> span[h] = span[h] + 1 };
        if :: d_step { owner[h + span[h] - 1] == 0 -> CheckMay(h + span[h] - 1); owner[h + span[h] - 1] = 1 }
           :: d_step { owner[h + span[h] - 1] != 0 -> span[h] = span[h] - 1; ok = 0; f = h + span[h] }; Drop(h); break fi
#else
#ifdef M_INTERIOR_BY_STORE
     :: span[h] < n && owner[h + span[h]] == 0 ->
        d_step { CheckMay(h + span[h]); owner[h + span[h]] = 1 }; d_step { span[h] = span[h] + 1 }
#else
     :: d_step { span[h] < n && owner[h + span[h]] == 0 -> CheckMay(h + span[h]); owner[h + span[h]] = 1 };
        d_step { CheckMine(h); span[h] = span[h] + 1 }
#endif
     :: d_step { span[h] < n && owner[h + span[h]] != 0 -> ok = 0; f = h + span[h];
#ifdef SEE_FAILMID
                 assert(span[h] < 2)
#endif
               }; Drop(h); break
#endif
     :: span[h] >= n -> break
     od; skip
  :: d_step { owner[h] != 0 -> ok = 0; f = h
#ifdef SEE_OVERLAP           /* the owner wakes and runs into a taker that is opening */
              ; assert(mtx == 0 || mtx == p + 1 || dead[PR(mtx - 1)] || owner[h] != mtx + 1)
#endif
            }
  fi
}
inline HandOut(h) {          /* my heap's lock held, the span is mine and empty; the lock goes after used_ */
#ifdef M_UNLOCK_EARLY
  hl[p] = 0;
#endif
  d_step { CheckMine(h); used[h] = 1; Cover(h, span[h]); st[h] = FLIGHT; by[h] = p + 1 };
  d_step {
#ifndef M_UNLOCK_EARLY
    hl[p] = 0;
#endif
    st[h] = USER; by[h] = 0 }
}
#define STALE(i) (i < NPG && owner[i] == 1 && !(owner[(i > 0 -> i - 1 : 0)] >= 2 && span[(i > 0 -> i - 1 : 0)] > 1) && \
                  !(owner[(i > 1 -> i - 2 : 0)] >= 2 && span[(i > 1 -> i - 2 : 0)] > 2))
inline Sweep() {             /* root mutex held; spans by the owner word of their head, then units by head word */
  d_step { ds = GONE; h = 0 };                /* asked ONCE */
  do
  :: d_step { h < NPG && owner[h] >= 2 && IN(ds, PR(TH(owner[h]))) -> skip };
#ifndef M_NO_TRAIL
     if :: d_step { h + span[h] < NPG && AT(h + span[h]) ->
#ifdef SEE_TRAIL
                    assert(0);
#endif
                    owner[h + span[h]] = 0 }
        :: else fi;
#endif
     d_step { if :: posted[h] -> posted[h] = 0; used[h] = 0 :: else fi };
     if :: !used[h] -> Drop(h)
        :: d_step { used[h] ->
#ifdef M_ADOPT_INTERIORS     /* every page of the span gets the new owner, then the interiors their mark */
                    k = 1 };
           do :: d_step { k < span[h] -> owner[h + k] = ME; k++ } :: d_step { k >= span[h] -> k = 0 }; break od;
           owner[h] = ME; k = 1;
           do :: d_step { k < span[h] -> owner[h + k] = 1; k++ } :: d_step { k >= span[h] -> k = 0 }; break od
#else
                    owner[h] = ME }
#endif
     fi;
     h++
#ifdef M_CLEAR_FOREIGN       /* a 1 that no span_ covers is stale, whosever it is */
  :: d_step { STALE(h) -> owner[h] = 0; h++ }
  :: d_step { h < NPG && !STALE(h) && !(owner[h] >= 2 && IN(ds, PR(TH(owner[h])))) -> h++ }
#else
  :: d_step { h < NPG && !(owner[h] >= 2 && IN(ds, PR(TH(owner[h])))) -> h++ }
#endif
  :: d_step { h == NPG -> h = 0 }; break
  od;
  do
  :: d_step { h < NU -> j = 0; k = 0;
              do :: j < NPG -> if :: U(j) == h && owner[j] == 0 -> k = k | (1 << j) :: else fi; j++ :: else -> break od; j = 0;
              if :: head[h] != 0 && IN(ds, head[h] - 1) ->
                    if :: k == UM(h) -> head[h] = 0
                       :: else -> head[h] = Q + 1; listed[Q] = listed[Q] | k fi
                 :: else fi;
              k = 0; h++ }
  :: d_step { h == NU -> h = 0; ds = 0 }; break
  od
}
inline Take() {              /* root mutex held, x = the owner read, alive when asked; h = head page; ok = it is mine now */
  ok = 0;
  if
#ifdef M_TAKE_NO_LOCK
  :: d_step { x >= 2 -> skip };
#else
#ifdef M_TAKE_OVER_OWNER     /* the lock of an owner that died in its slow path */
  :: d_step { hl[TH(x)] == 0 || dead[PR(hl[TH(x)] - 1)] -> hl[TH(x)] = p + 1 };
#else
  :: d_step { hl[TH(x)] == 0 || (PR(hl[TH(x)] - 1) != PR(TH(x)) && dead[PR(hl[TH(x)] - 1)]) -> hl[TH(x)] = p + 1 };
#endif
#endif
     ok = (owner[h] == x && used[h] == posted[h]);
     if
#ifdef M_THROUGH_FREE        /* frees the head, then opens it */
     :: ok -> owner[h] = 0; if :: d_step { owner[h] == 0 -> owner[h] = ME } :: else -> ok = 0 fi
#else
     :: d_step { ok ->
#ifdef SEE_TAKEN
                 assert(span[h] < 2 || gone[PR(TH(x))]);
#endif
#ifdef INV
                 assert(owner[h] == x && st[h] == FREE && cover[h] == 0);
                 assert(h + span[h] >= NPG || !AT(h + span[h]));       /* nothing half done */
#endif
                 owner[h] = ME }
#endif
     :: else fi;
#ifndef M_TAKE_NO_LOCK
     hl[TH(x)] = 0
#else
     skip
#endif
  :: else
  fi;
  x = 0
}
#define ASKED(i) (head[U(i)] != 0 && !IN(ds, head[U(i)] - 1))
inline May(h, n) {           /* may I open the run under this hold of the root mutex? */
  ok = 1; j = 0;
  do :: j < n ->
#ifdef M_ROOT_UNIT
        if :: head[U(h + j)] == 0 || ASKED(h + j) :: else -> ok = 0 fi;
#else
#ifdef DEAD_UNITS            /* not a mistake: a unit of the dead serves as well until it is swept */
        if :: head[U(h + j)] != 0 :: else -> ok = 0 fi;
#else
        if :: ASKED(h + j) :: else -> ok = 0 fi;
#endif
#endif
#ifndef ROOT_NO_HAND         /* not a mistake: who gives the unit back waits for the root mutex */
        if :: IN(hand[Q] & MYU, h + j) -> ok = 0 :: else fi;   /* another thread of my process is at it */
#endif
        j++
     :: else -> break od;
  j = 0
}
/* Process lock: what is on the free lists once the pages of my units that are out have been polled. */
#define ZERO ((owner[0] == 0 -> 1 : 0) | (owner[1] == 0 -> 2 : 0) | (owner[NPG - 1] == 0 -> 1 << (NPG - 1) : 0))
#ifdef M_POLL_HAND           /* also those that another thread of my process has in hand */
#define LISTED (listed[Q] | (MYU & ZERO))
#else
#define LISTED (listed[Q] | (MYU & ZERO & ~hand[Q]))
#endif
#define POP(a, c) d_step { (LISTED & MASK(a, c)) == MASK(a, c) -> h = a; n = c; my = MASK(a, c); \
                           listed[Q] = LISTED & ~my; hand[Q] = hand[Q] | my; ops++; f = NPG }
#ifdef M_TAKE_FROM_DEAD
#define OTHERS(i) (owner[i] >= 2 && owner[i] != ME && i < a + n && i + span[i] > a)
#else                        /* a span of a live owner that lies in the way */
#define OTHERS(i) (owner[i] >= 2 && owner[i] != ME && i < a + n && i + span[i] > a && !IN(ds, PR(TH(owner[i]))))
#endif
#if NPG > 2
#define ANY(c) (c(0) || c(1) || c(2))
#define PICK(c) if :: c(0) -> h = 0 :: c(1) -> h = 1 :: c(2) -> h = 2 fi
#else
#define ANY(c) (c(0) || c(1))
#define PICK(c) if :: c(0) -> h = 0 :: c(1) -> h = 1 fi
#endif
#define OWN(i) (owner[i] == ME)
#define HELD(i) (st[i] == USER)
#define GROWS(i) (st[i] == USER && OWN(i) && i + span[i] < NPG && IN(LISTED, i + span[i]))
#define TRIMS(i) (st[i] == USER && OWN(i) && span[i] > 1)
#define FULL(u) (head[u] == Q + 1 && (LISTED & UM(u)) == UM(u))
#define GRANTS(u) (head[u] == 0)
#define OF_DEAD(w) (w >= 2 && dead[PR(TH(w))])
#define DEADS(u) (head[u] != 0 && dead[head[u] - 1])
#define LEFTOVERS (OF_DEAD(owner[0]) || OF_DEAD(owner[1]) || OF_DEAD(owner[NPG - 1]) || DEADS(0) || DEADS(NU - 1))
#define ROOT_FREE (mtx == 0 || dead[PR(mtx - 1)])

proctype Proc(byte p) {
  byte a, h, n, f, j, k, x, ds, my; bool ok;
  {
    do
    :: ops == OPS -> break                                     /* exits, keeps what it has */
    :: atomic { ops < OPS && LISTED != 0 ->                    /* open a run from the private lists */
         if :: POP(0, 1) :: POP(1, 1) :: POP(0, 2)
#if NPG > 2
            :: POP(2, 1) :: POP(1, 2) :: POP(0, 3)
#endif
         fi };
       LockOwn();
       Open(h, n);
       if :: d_step { ok -> Out(0) }; HandOut(h)
          :: d_step { !ok -> hl[p] = 0; Out(~(1 << f)) } fi;
       d_step { h = 0; n = 0; f = 0; ok = 0 }
    :: atomic { ops < OPS && ROOT_FREE && (LISTED & UM(0) & UM(NU - 1)) != ((1 << NPG) - 1) -> /* in need of a run, wherever it lies */
         if :: a = 0; n = 1 :: a = 0; n = 2 :: a = 1; n = 1
#if NPG > 2
            :: a = 0; n = 3 :: a = 1; n = 2 :: a = 2; n = 1
#endif
         fi;
         d_step { ops++; mtx = p + 1; ds = GONE;                /* asked once in this hold */
                  assert(hl[p] == 0 || dead[PR(hl[p] - 1)]); hl[p] = p + 1 } };      /* cannot wait */
       do
       :: atomic { ANY(OTHERS) -> PICK(OTHERS); x = owner[h] };
          Take();
          if :: d_step { ok -> ok = 0; used[h] = 0; posted[h] = 0;
#ifdef SEE_CROSS
                         taken = 1
#endif
                       };               /* drain */
                if :: Retire(h); atomic { Out(255) }
                   :: n = 0; break                             /* kept as it is */
                fi
             :: else fi
       :: break
       od;
       h = a;
       d_step { ok = 0; if :: n != 0 -> May(a, n) :: else fi };
       if :: ok ->
#ifndef ROOT_NO_HAND
             Hand(MASK(h, n));
#endif
             Open(h, n)
          :: else fi;
#ifdef SEE_CROSS             /* a run across units, of pages that belonged to others just now */
       d_step { assert(!(ok && taken && U(a) != U(a + n - 1))); taken = 0 };
#endif
       d_step { ds = 0; if :: mtx == p + 1 -> mtx = 0 :: else fi };
       if :: d_step { ok -> Out(0) }; HandOut(h)
          :: d_step { !ok -> hl[p] = 0; Out(~(1 << f)) } fi;
       d_step { a = 0; h = 0; n = 0; f = 0; ok = 0 }
    :: atomic { ops < OPS && ANY(OWN) -> PICK(OWN); ops++ };   /* slow path: drain, then use again or retire */
       LockOwn();
       if :: d_step { owner[h] == ME && used[h] == posted[h] -> used[h] = 0; posted[h] = 0 };
             if :: HandOut(h) :: Retire(h); atomic { hl[p] = 0; Out(255) } fi
          :: else -> hl[p] = 0 fi;
       h = 0
    :: atomic { ops < OPS && ANY(HELD) -> PICK(HELD); d_step { ops++; st[h] = FLIGHT; by[h] = p + 1 } };     /* free */
       if
       :: d_step { owner[h] == ME -> CheckMine(h); used[h] = 0; Uncover(h) };
          if :: LockOwn();
                if
#ifdef M_RETIRE_UNCHECKED
                :: skip
#else
                :: owner[h] == ME && !used[h]
#endif
                   -> Retire(h) :: else fi;
                atomic { hl[p] = 0; Out(255) }
             :: skip fi
       :: d_step { owner[h] != ME -> posted[h] = 1; Uncover(h) }
       fi;
       h = 0
    :: atomic { ops < OPS && ANY(GROWS) -> PICK(GROWS);        /* the holder grows its block in place */
         d_step { ops++; st[h] = FLIGHT; by[h] = p + 1; my = 1 << (h + span[h]);
                  listed[Q] = LISTED & ~my; hand[Q] = hand[Q] | my } };
#ifdef M_GROW_BY_STORE
       if :: owner[h + span[h]] == 0 -> d_step { owner[h + span[h]] = 1; ok = 1 }
#else
       if :: d_step { owner[h + span[h]] == 0 -> CheckMay(h + span[h]); owner[h + span[h]] = 1; ok = 1 }
#endif
          :: else fi;
       if :: d_step { ok -> CheckMine(h); span[h] = span[h] + 1 };
             d_step { assert(cover[h + span[h] - 1] == 0); cover[h + span[h] - 1] = h + 1 }
          :: else fi;
       d_step { Out(0); st[h] = USER; by[h] = 0; h = 0; ok = 0 }
    :: atomic { ops < OPS && ANY(TRIMS) -> PICK(TRIMS);        /* or trims it by its last page */
         d_step { ops++; st[h] = FLIGHT; by[h] = p + 1; cover[h + span[h] - 1] = 0; k = span[h] - 1 } };
       Hand(1 << (h + k));
       if :: CUT(k) fi;
       d_step { Out(255); st[h] = USER; by[h] = 0; h = 0; k = 0 }
    :: atomic { ops < OPS && (FULL(0) || FULL(NU - 1)) ->      /* give a unit back: unlink first */
         if :: FULL(0) -> h = 0 :: FULL(NU - 1) -> h = NU - 1 fi;
#ifdef M_UNLINK_LATE         /* clears the head word first */
         d_step { ops++; listed[Q] = LISTED; my = UM(h) } };
#else
         d_step { ops++; my = UM(h); listed[Q] = LISTED & ~my; hand[Q] = hand[Q] | my } };
#endif
       LockRoot();
#ifdef M_GIVE_BLIND
       d_step { head[h] = 0; hand[Q] = hand[Q] & ~my; my = 0 };
#else
       if :: d_step { (ZERO & my) == my -> head[h] = 0; hand[Q] = hand[Q] & ~my; my = 0 }
          :: else fi;
#endif
#ifdef M_UNLINK_LATE
       d_step { if :: head[h] == 0 -> listed[Q] = listed[Q] & ~UM(h) :: else fi };
#endif
       d_step { Out(ZERO); mtx = 0; h = 0 }
    :: atomic { ops < OPS && (GRANTS(0) || GRANTS(NU - 1)) && ROOT_FREE -> /* get one */
         if :: GRANTS(0) -> h = 0 :: GRANTS(NU - 1) -> h = NU - 1 fi; ops++;
         d_step { mtx = p + 1; head[h] = Q + 1; listed[Q] = listed[Q] | UM(h) } };
       d_step { mtx = 0; h = 0 }
    :: d_step { LEFTOVERS && ROOT_FREE -> mtx = p + 1 };       /* sweep, as often as there is something */
       Sweep();
       mtx = 0
    od;
    skip;
    d_step { left[Q]--; if :: left[Q] == 0 -> gone[Q] = 1; listed[Q] = 0; hand[Q] = 0 :: else fi; fin++ }
  } unless { dead[Q] -> d_step { fin++; listed[Q] = 0; hand[Q] = 0;
                                 a = 0; h = 0; n = 0; f = 0; j = 0; k = 0; x = 0; ds = 0; my = 0; ok = 0 } }
}
#ifdef RACE                  /* all threads want the whole region, nobody dies: exactly one gets it */
proctype Racer(byte p) {
  byte h, n, f, j, k, ds, my; bool ok;
  if
  :: d_step { LISTED == MASK(0, NPG) -> my = MASK(0, NPG); listed[Q] = 0; hand[Q] = my };
     LockOwn();
     Open(0, NPG);
     hl[p] = 0;
     d_step { n = NPG; if :: ok -> Out(0) :: else -> Out(~(1 << f)) fi }
  :: d_step { LISTED != MASK(0, NPG) -> skip }
  fi;
  if
#ifdef NO_RETRY              /* not a mistake here: who holds the highest page that two runs share never fails */
  :: n == 0 ->
#else
  :: !ok ->
#endif
        LockRoot(); LockOwn();
        d_step { May(0, NPG) };
        if :: ok -> Hand(MASK(0, NPG)); Open(0, NPG) :: else fi;
        mtx = 0;
        d_step { hl[p] = 0; if :: ok -> Out(0) :: else -> Out(~(1 << f)) fi }
  :: else fi;
  skip;
  d_step { got = got + ok; fin++; assert(fin < NT || got == 1) }
}
#endif
proctype Killer() {
  byte k;
end:
  do :: d_step { k < KILLS && !gone[0] -> dead[0] = 1; gone[0] = 1; k++ }
     :: d_step { k < KILLS && !gone[1] -> dead[1] = 1; gone[1] = 1; k++ }
#if NPR > 2
     :: d_step { k < KILLS && !gone[2] -> dead[2] = 1; gone[2] = 1; k++ }
#endif
  od
}
proctype Monitor() {         /* costs no states: its guards are never true in a right model */
end:
  do
  :: d_step { !(LIVE(0) && LIVE(1) && LIVE(NPG - 1)) -> assert(0) }      /* a live block's page is free or in other hands */
#ifdef INV
  :: d_step { !(W1(0) && W1(1) && W1(NPG - 1)) -> assert(0) }            /* a free page's words are empty */
  :: d_step { !(W2(0) && W2(1) && W2(NPG - 1)) -> assert(0) }            /* no page used in a unit of the root */
  :: d_step { !(W3(0) && W3(1) && W3(NPG - 1)) -> assert(0) }            /* a span's pages are 1, and at most one 1 behind it */
  :: d_step { !(W4(0) && W4(1) && W4(NPG - 1)) -> assert(0) }            /* no 1 behind a free page */
#endif
  od
}
proctype Auditor() {
  byte p = NT, h, j, k, ds, my, f;
  atomic {
    fin == NT; mtx = p + 1;
    Sweep();
    d_step {
      h = 0; k = 0;                                    /* k = first page behind the last span */
      do :: h < NPG ->
            if :: owner[h] == 0 -> assert(cover[h] == 0 && h >= k && W1(h))
               :: owner[h] == 1 -> assert(h < k)       /* no stale 1 */
               :: else ->
                  assert(owner[h] == ME && h >= k && span[h] >= 1 && h + span[h] <= NPG && used[h] && cover[h] == h + 1);
                  k = h + span[h];
                  assert(st[h] == USER || (st[h] == FLIGHT && dead[PR(by[h] - 1)]));
                  j = h + 1;                           /* P3: one per thread that died */
                  do :: j < NPG -> assert(st[j] != FLIGHT || st[h] != FLIGHT || by[j] != by[h]); j++ :: else -> break od
            fi;
            f = f | (owner[h] != 0 -> 1 << U(h) : 0);
            h++
         :: else -> break od;
      h = 0; do :: h < NU -> assert(head[h] == (IN(f, h) -> NPR + 1 : 0)); h++ :: else -> break od;
      h = 0; j = 0; k = 0; f = 0 }
  }
}
init { atomic {
  byte q, k;
  head[0] = 1; listed[0] = UM(0);
#if NU > 1
  if :: head[1] = 1; listed[0] = listed[0] | UM(1) :: head[1] = 2; listed[1] = UM(1) fi;
#endif
#ifndef EMPTY                /* thread 0 has been at work before */
  if
  :: skip
  :: owner[0] = 2; owner[1] = 1; span[0] = 2; k = 2                                   /* an empty span that was kept */
  :: owner[0] = 2; owner[1] = 1; span[0] = 2; k = 2;                                  /* a live block */
     used[0] = 1; st[0] = USER; cover[0] = 1; cover[1] = 1
  :: owner[0] = 2; owner[1] = 2; k = 2                                                /* two empty pages */
#if NPG > 2
  :: owner[0] = 2; owner[1] = 1; owner[2] = 1; span[0] = 3; k = 3                     /* a span, perhaps across units */
#endif
  fi;
  listed[0] = listed[0] & ~((1 << k) - 1); listed[1] = listed[1] & ~((1 << k) - 1); k = 0;
#endif
#ifdef RACE
  for (q : 0 .. NT - 1) { run Racer(q) }
#else
  for (q : 0 .. NT - 1) { left[PR(q)]++; run Proc(q) }
  run Killer(); run Monitor(); run Auditor()
#endif
} }
